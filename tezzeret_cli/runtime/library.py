"""Open verified bytes as a library: what was hashed is what is mapped."""

from __future__ import annotations

import fcntl
import itertools
import os
import threading

import torch

from tezzeret_cli.errors import TargetMismatchError
from tezzeret_cli.runtime import private

_numbers = itertools.count()
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class Libraries:
    """The libraries that this process has opened, by sha256 and device.

    A library once opened stays open, as the dynamic linker's own do. Its memory file is closed as soon as it
    is mapped.
    """

    def __init__(self) -> None:
        self._opened: dict[tuple[str, str], private.Run] = {}
        self._lock = threading.Lock()

    def open(self, name: str, sha256: str, data: bytes, device: torch.device) -> private.Run:
        """The run function of the library in ``data``, opened at most once.

        Raises ``TargetMismatchError`` when the linker refuses it.
        """
        with self._lock:
            key = (sha256, str(device))
            if key not in self._opened:
                self._opened[key] = _open(name, data, device)
            return self._opened[key]


def _open(name: str, data: bytes, device: torch.device) -> private.Run:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    try:
        return private.open_library(_path(descriptor), device)
    except RuntimeError as error:
        raise TargetMismatchError(f"{name} cannot be opened here: {str(error).splitlines()[0]}") from error
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
