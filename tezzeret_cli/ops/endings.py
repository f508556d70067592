"""How a worker ended → its answer, or why there is none; and what it was not held by."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import msgspec

from tezzeret_cli.model.build import WorkerReply
from tezzeret_cli.model.manifest import Reason
from tezzeret_cli.worker.task import (
    Cancelled,
    Crashed,
    Ending,
    Lacking,
    OutOfMemory,
    Raised,
    Returned,
    TimedOut,
    TooManyProcesses,
)

_FRAME = re.compile(r'File "(.+)", line (\d+) in (.+)')
"""A line of what ``faulthandler`` writes."""


def answer(ending: Ending) -> WorkerReply | Reason:
    """The worker's answer, or why there is none."""
    match ending:
        case Returned(result):
            try:
                reply: WorkerReply = msgspec.msgpack.decode(result, type=WorkerReply)
                return reply
            except msgspec.MsgspecError as error:
                return Reason("internal", f"the worker's answer does not decode: {error}", False)
        case Raised(kind, message, _):
            return Reason("internal", f"the worker raised {kind}: {_line(message)}", False)
        case Crashed(signal=number, status=status):
            how = f"signal {number}" if number is not None else f"exit status {status}"
            lost = number is None and status is None
            text = "the worker ended without an answer" if lost else f"the worker crashed ({how})"
            return Reason("crash", text, False)
        case TimedOut(after_s):
            return Reason("timeout", f"not done after {after_s:g} s", False)
        case OutOfMemory(peak, limit, by_kernel):
            by_whom = "; the kernel ended it" if by_kernel else ""
            used = f"used {peak >> 20} MiB of {limit >> 20} MiB allowed{by_whom}"
            return Reason("out_of_memory", used, False)
        case TooManyProcesses(count, limit):
            return Reason("too_many_processes", f"{count} processes at once, where {limit} are allowed", True)
        case Cancelled():
            return Reason("interrupted", "interrupted", False)


def last_words(log: Path) -> str:
    """The last line of a worker's output that is not blank, or where in its Python code it was when a signal
    killed it; empty when there is neither."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16384))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    for header, frame in itertools.pairwise(lines):
        if header.startswith("Current thread") and (found := _FRAME.fullmatch(frame.strip())):
            return _line(f"at {Path(found[1]).name}, line {found[2]}, in {found[3]}")
    return next((_line(line) for line in reversed(lines) if line.strip()), "")


def lacking_line(lacking: Lacking) -> str:
    """For the person: what this machine does not give to hold tasks with."""
    return f"this machine gives {'; '.join(lacking.parts)}"


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
