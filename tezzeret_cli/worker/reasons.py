"""What went wrong with a build → the reason that a bundle is a fallback."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

from tezzeret_cli.model.build import NO_ROOM
from tezzeret_cli.model.manifest import Reason
from tezzeret_cli.worker import private
from tezzeret_cli.worker.unsupported import Unsupported


def reason_for(error: Exception) -> Reason:
    """Why the module ships as a fallback."""
    inner = getattr(error, "inner_exception", error)
    if isinstance(inner, Unsupported):
        return Reason(inner.kind, inner.message, deterministic=True)
    if isinstance(error, private.GRAPH_BREAK_ERRORS):
        return Reason("graph_break", first_line(error), deterministic=True)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Reason(NO_ROOM, f"{error.filename}: {error.strerror}", deterministic=False)
    if isinstance(inner, private.NO_COMPILER_ERRORS):
        return Reason("no_compiler", "there is no C++ compiler", deterministic=True)
    captured = isinstance(error, private.CAPTURE_ERRORS) and not isinstance(error, private.COMPILE_ERRORS)
    kind = "capture_failed" if captured else "compile_failed"
    text = f"{type(error).__name__}: {first_line(error)}"
    if text.endswith(":"):  # an error without a message, in one that names it
        text = f"{type(error).__name__}: {_origin(inner)}"
    return Reason(kind, text, deterministic=False)


def _origin(error: BaseException) -> str:
    """The error at the start of a chain of them, and where it was raised."""
    while error.__cause__ is not None or (error.__context__ is not None and not error.__suppress_context__):
        error = error.__cause__ or error.__context__ or error
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" in {Path(frame.filename).name}, line {frame.lineno}" for frame in place)
    said = f": {first_line(error)}" if str(error) else ""
    return f"{type(error).__name__}{said}{where}"


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 300 else text[:300] + "…"
