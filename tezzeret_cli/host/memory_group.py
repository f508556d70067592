"""Groups of the kernel's that hold the memory of one job each, where this process may make them.

Version 2 wants a group with processes or with groups below it, not both. So a forge that is alone in its
group, as in a scope of its own, moves into a group below it for as long as it needs groups. A group is locked
as long as somebody uses it: what a forge that was killed left behind is known by having no lock, and goes
with the next run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import NamedTuple

import msgspec

from tezzeret_cli.files import Lock, lock_folder
from tezzeret_cli.host.cgroup import CGROUPS, PROC, read_field, read_number, read_text, v1_folders, v2_folders

PREFIX = "tezzeret-"
_FORGE = f"{PREFIX}forge-"
_TRIES = 10


class _Files(msgspec.Struct, frozen=True):
    """What each version calls things; ``alone`` ends the group as a whole when it is over its limit."""

    limit: str
    with_swap: str
    kills: str
    peak: str
    alone: str | None = None


_V1 = _Files(
    limit="memory.limit_in_bytes",
    with_swap="memory.memsw.limit_in_bytes",
    kills="memory.oom_control",
    peak="memory.max_usage_in_bytes",
)
_V2 = _Files(
    limit="memory.max",
    with_swap="memory.swap.max",
    kills="memory.events",
    peak="memory.peak",
    alone="memory.oom.group",
)


class GroupPlace(msgspec.Struct, frozen=True):
    """The group in which those of the jobs are made, and its version: 1 or 2."""

    folder: str
    version: int


class NoGroups(Exception):
    """Why no groups can be made here, in words for people."""


def find_place(proc: Path = PROC, cgroups: Path = CGROUPS) -> GroupPlace:
    """Where this process may make groups, cleared of what dead runs left. May move the process one group
    down, until ``move_back``. Raises ``NoGroups``."""
    version_1 = v1_folders("memory", proc, cgroups)
    version_2 = v2_folders(proc, cgroups)
    if version_1:
        place = GroupPlace(str(_own(version_1)), 1)
    elif version_2:
        place = GroupPlace(str(_opened(_own(version_2))), 2)
    else:
        raise NoGroups("this kernel has no cgroups for memory")
    try:
        sweep(place)
        MemoryGroup(place, 1 << 30).close()
    except OSError as error:
        raise NoGroups(f"{error.filename or place.folder}: {error.strerror}") from error
    return place


def sweep(place: GroupPlace) -> None:
    """Remove the groups that nobody uses any more."""
    for folder in Path(place.folder).glob(f"{PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            lock = lock_folder(folder)
            if lock is not None:
                _remove(folder)
                lock.release()


class MemoryGroup:
    """One job's group. It and what it starts may hold ``limit_bytes`` together, swap and the memory of files
    on tmpfs included. Raises ``OSError`` where it cannot be made."""

    def __init__(self, place: GroupPlace, limit_bytes: int) -> None:
        self._files = _V2 if place.version == 2 else _V1
        self._folder, self._lock = _make(Path(place.folder), PREFIX)
        try:
            _write(self._folder / self._files.limit, str(limit_bytes))
            swap = self._folder / self._files.with_swap
            if swap.exists():
                _write(swap, "0" if place.version == 2 else str(limit_bytes))
            if self._files.alone is not None:
                _write(self._folder / self._files.alone, "1")
            self._processes = os.open(self._folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        except BaseException:
            _remove(self._folder)
            self._lock.release()
            raise

    def join(self) -> None:
        """Move the calling process into it, a child of who made it. What it has by now is not counted."""
        os.write(self._processes, b"0")
        os.close(self._processes)
        self._lock.release()

    def kills(self) -> int:
        """How many of its processes the kernel has ended for want of memory."""
        return read_field(self._folder / self._files.kills, "oom_kill")

    def peak(self) -> int:
        """Bytes that it held at most, those of cached files included; 0 where this kernel does not tell."""
        return read_number(self._folder / self._files.peak) or 0

    def close(self) -> None:
        """Remove it, when its processes are gone."""
        os.close(self._processes)
        _remove(self._folder)
        self._lock.release()


def _own(folders: list[Path]) -> Path:
    """The group that this process is in: in a container it may be mounted as the topmost one."""
    own = str(os.getpid())
    for folder in (folders[0], folders[-1]):
        if own in (read_text(folder / "cgroup.procs") or "").split():
            return folder
    raise NoGroups(f"{folders[0]} cannot be seen")


def _opened(own: Path) -> Path:
    """The group around this process of version 2 that may have groups with a limit below it."""
    if own.name.startswith(_FORGE):
        return own.parent
    if "memory" not in (read_text(own / "cgroup.controllers") or "").split():
        raise NoGroups(f"{own} has no control of memory")
    switch = own / "cgroup.subtree_control"
    try:
        if "memory" not in (read_text(switch) or "").split():
            _write(switch, "+memory")
        return own
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise NoGroups(f"{switch}: {error.strerror}") from error
    if (read_text(own / "cgroup.procs") or "").split() != [str(os.getpid())]:
        raise NoGroups(f"{own} has other processes than the forge")
    global _moved
    try:
        below, lock = _make(own, _FORGE)
        _moved = _Moved(own, below, lock)
        _write(below / "cgroup.procs", "0")
        _write(switch, "+memory")
    except OSError as error:
        move_back()
        raise NoGroups(f"{error.filename or own}: {error.strerror}") from error
    return own


class _Moved(NamedTuple):
    """From where to where this process moved; the lock is on the latter."""

    own: Path
    below: Path
    lock: Lock


_moved: _Moved | None = None


def move_back() -> None:
    """Where ``find_place`` moved this process one group down, leave everything as it was."""
    global _moved
    if _moved is None:
        return
    own, below, lock = _moved
    _moved = None
    # Another forge may have come to stand beside this one: then its jobs are held on, and the group stays.
    with contextlib.suppress(OSError):
        _write(own / "cgroup.subtree_control", "-memory")
        _write(own / "cgroup.procs", "0")
        _remove(below)
    lock.release()


def _make(parent: Path, prefix: str) -> tuple[Path, Lock]:
    """A new group, locked."""
    for _ in range(_TRIES):
        folder = parent / f"{prefix}{secrets.token_hex(8)}"
        folder.mkdir()
        with contextlib.suppress(FileNotFoundError):
            lock = lock_folder(folder)
            if lock is not None and folder.exists():
                return folder, lock
            if lock is not None:
                lock.release()
    raise OSError(errno.EAGAIN, "others keep removing it", str(parent))


def _remove(folder: Path) -> None:
    """Remove a group; one in which processes still end stays, for the next run to remove."""
    with contextlib.suppress(FileNotFoundError):
        try:
            folder.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise


def _write(path: Path, text: str) -> None:
    """Errors name the file, also those of the write."""
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
