"""Process trees on Linux: who descends from whom, how much memory they hold, and ending them all."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent ends; exit now if it already has."""
    end_with_parent(by)
    if os.getppid() != parent:
        os._exit(1)


def end_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """The same for a process that cannot see its parent: whether it has ended by now is not looked at."""
    _prctl(_PR_SET_PDEATHSIG, by)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, daemons included."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def apply_limits(file_bytes: int, cpu_seconds: int) -> None:
    """The limits every child runs under: no core dump, no file larger than ``file_bytes``, no process that
    computes for longer than ``cpu_seconds``, and first in line when the kernel runs out of memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")


def descendants(root: int) -> list[int]:
    """Every living descendant of ``root``, read from /proc; ``root`` itself is not among them."""
    parents: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (parent := _parent(entry.name)) is not None:
            parents[int(entry.name)] = parent
    found: list[int] = []
    level = [root]
    while level:
        level = [pid for pid, parent in parents.items() if parent in level]
        found += level
    return found


def _parent(pid: str) -> int | None:
    try:
        stat = Path("/proc", pid, "stat").read_bytes()
    except OSError:
        return None
    state, parent = stat[stat.rindex(b")") + 2 :].split()[:2]
    return None if state == b"Z" else int(parent)


def living_tree(root: int) -> list[int]:
    """Like ``descendants``, in a tenth of the time, for a look now and then: the kernel's lists of children
    may miss one while others end, and have those that ended. Where it keeps none, the same."""
    found: list[int] = []
    level = [root]
    while level:
        try:
            level = [child for pid in level for child in _children(pid)]
        except FileNotFoundError:
            return descendants(root)
        found += level
    return found


def _children(pid: int) -> list[int]:
    """Raises ``FileNotFoundError`` where the kernel keeps no lists of children."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except OSError:
            if thread == str(pid) and os.path.exists(f"/proc/{pid}/task/{thread}"):
                raise FileNotFoundError(f"/proc/{pid}/task/{thread}/children") from None
    return found


def memory_bound(pid: int) -> int:
    """Bytes that ``private_bytes`` cannot exceed, from a counter that costs nothing to read. 0 for a process
    that is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def private_bytes(pid: int) -> int:
    """Resident memory of a process that it does not share with the file cache or, before it was
    written, with the process it was forked from: anonymous and shared-memory pages, in bytes.

    0 for a process that is gone.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            fields = dict(line.split(":", 1) for line in rollup.read().splitlines()[1:])
    except OSError:
        return 0
    kib = sum(int(fields[key].split()[0]) for key in ("Private_Dirty", "Private_Clean") if key in fields)
    return kib << 10


def end_descendants(root: int, patience_s: float = 5.0) -> bool:
    """Kill and reap every descendant of the calling process ``root``; whether none is left.

    A descendant may fork while it is being killed, so this looks again until nothing is there.
    """
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        living = descendants(root)
        for pid in living:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        reap()
        if not living:
            return True
        time.sleep(0.005)
    return not descendants(root)


def reap() -> dict[int, int]:
    """Collect every child that has ended: pid to wait status."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status
