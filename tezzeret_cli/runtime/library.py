"""Open verified bytes as a library: what was hashed is what is mapped."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import threading
from collections.abc import Callable, Iterator

import torch

from tezzeret_cli.errors import TargetMismatchError
from tezzeret_cli.runtime import private

_numbers = itertools.count()
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class Libraries:
    """The libraries that this process has opened, by sha256 and device.

    A library once opened stays open, as the dynamic linker's own do: it goes by its path from then on, so its
    memory file is closed as soon as it is mapped.
    """

    def __init__(self) -> None:
        self._paths: dict[tuple[str, str], str] = {}
        self._opened: dict[tuple[str, str, int], private.Run] = {}
        self._lock = threading.Lock()

    def open(
        self, name: str, sha256: str, entry: int, read: Callable[[], bytes | memoryview], device: torch.device
    ) -> private.Run:
        """The run function of a library's ``entry``-th graph. What ``read`` gives is mapped at most once.

        Raises ``TargetMismatchError`` when the linker or the library refuses it.
        """
        library = (sha256, str(device))
        with self._lock:
            run = self._opened.get((*library, entry))
            if run is None:
                if library in self._paths:
                    run = _run(name, self._paths[library], device, entry)
                else:
                    with _mapped(name, read()) as path:
                        run = _run(name, path, device, entry)
                    self._paths[library] = path
                self._opened[*library, entry] = run
            return run


def _run(name: str, path: str, device: torch.device, entry: int) -> private.Run:
    try:
        return private.open_library(path, device, entry)
    except RuntimeError as error:
        raise TargetMismatchError(f"{name} cannot be opened here: {str(error).splitlines()[0]}") from error


@contextlib.contextmanager
def _mapped(name: str, data: bytes | memoryview) -> Iterator[str]:
    """The path of a sealed memory file with ``data``."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        yield _path(descriptor)
    finally:
        os.close(descriptor)


def _path(descriptor: int) -> str:
    """A path to an open file that was never used before.

    The linker knows libraries by path: it would take a descriptor's number that is used again for the library
    that had it before. So the path has a counter in it, each bit written as one of two ways to say nothing.
    """
    number = next(_numbers)
    steps = "".join("/." if number >> bit & 1 else "//" for bit in range(64))
    return f"/proc/self{steps}/fd/{descriptor}"
