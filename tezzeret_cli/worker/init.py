"""The first process of a task's own namespace of processes.

It forks the child, takes in every process that loses its parent, and says through a pipe how the child ended.
When it ends, by itself or killed, the kernel ends all that is left in the namespace, and no process in it can
end it or see anything outside.
"""

from __future__ import annotations

import os
import signal
import struct

from tezzeret_cli.worker import namespaces, process

_STATUS = struct.Struct("<i")


class Verdict:
    """The pipe through which the guardian learns of the child's wait status."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def take(self) -> int | None:
        """For the guardian, once the first process is gone; ``None`` where it had no time to say."""
        said = os.read(self._read, _STATUS.size)
        os.close(self._read)
        return _STATUS.unpack(said)[0] if len(said) == _STATUS.size else None

    def leave_writing(self) -> None:
        """For the guardian, after the fork."""
        os.close(self._write)

    def give(self, status: int) -> None:
        os.write(self._write, _STATUS.pack(status))

    def is_awaited(self) -> bool:
        """For the first process: whether the guardian is still there."""
        return namespaces.is_read(self._write)

    def leave_reading(self) -> None:
        os.close(self._read)

    def leave(self) -> None:
        """For the child."""
        os.close(self._write)


def lead(verdict: Verdict, *unneeded: int) -> None:
    """Be the first process; returns in the child alone. ``unneeded`` are descriptors for the child only."""
    verdict.leave_reading()
    process.end_with_parent()
    if not verdict.is_awaited():
        os._exit(1)
    namespaces.show_own_processes()
    child = os.fork()
    if child == 0:
        verdict.leave()
        return
    for descriptor in unneeded:
        os.close(descriptor)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        pid, status = os.wait()
        if pid == child:
            verdict.give(status)
            os._exit(0)
