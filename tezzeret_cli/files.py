"""Files that are whole or not there, and locks that die with their holder. All raise ``OSError``.

What a journal does on its disk goes through ``wal/disk.py`` instead, so that tests can stand in for it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from pathlib import Path

_LOOK_S = 0.05

Name = str | os.PathLike[str]


class Lock:
    """An advisory lock of the kernel's, held until it is released or the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def lock_file(path: Name, *, wait_s: float = 0.0) -> Lock | None:
    """Lock a file, which is made first where there is none. ``None`` where another has it for longer than
    ``wait_s`` seconds."""
    descriptor = _for_locking(path)
    deadline = time.monotonic() + wait_s
    while True:
        lock = _locked(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left = deadline - time.monotonic()
        if lock is not None or left <= 0:
            break
        time.sleep(min(left, _LOOK_S))
        descriptor = _for_locking(path)
    return lock


def wait_for_lock(path: Name) -> Lock:
    """Lock a file as ``lock_file`` does, however long another has it."""
    lock = _locked(_for_locking(path), fcntl.LOCK_EX)
    assert lock is not None
    return lock


def lock_folder(folder: Name, *, shared: bool = False, wait: bool = False) -> Lock | None:
    """Lock a folder itself, for which no file is made; ``None`` where another has it in the way."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return _locked(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))


def is_locked(path: Name) -> bool:
    """Whether another holds the lock on a file, found without keeping anybody from it."""
    lock = _locked(os.open(path, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_SH | fcntl.LOCK_NB)
    if lock is not None:
        lock.release()
    return lock is None


def write_whole(path: Path, data: bytes, *, draft: Path | None = None, durable: bool = True) -> None:
    """Replace a file at once; durably, so that after a crash the old one is there or the new one.

    ``draft`` is where nobody else writes at the same time, on the same filesystem: what a dead process left
    there is overwritten. Without it, a name beside ``path`` is made up.
    """
    draft = draft or _draft(path)
    try:
        _write(draft, data, os.O_TRUNC, durable=durable)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def write_new(path: Path, data: bytes, mode: int) -> bool:
    """Write a file that is whole and durable once it has its name; ``False`` where something has it.
    ``mode`` is given whatever the umask is."""
    draft = _draft(path)
    try:
        _write(draft, data, os.O_EXCL, mode=mode)
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def sync(path: Name, flags: int = 0) -> None:
    """Make a file durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Name) -> None:
    """Make the entries of a folder durable."""
    sync(folder, os.O_DIRECTORY)


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def _write(path: Path, data: bytes, how: int, *, mode: int | None = None, durable: bool = True) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | how
    descriptor = os.open(path, flags, 0o666 if mode is None else mode)
    try:
        if mode is not None:
            os.fchmod(descriptor, mode)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _for_locking(path: Name) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _locked(descriptor: int, how: int) -> Lock | None:
    """The lock on an open file, which is closed where there is none."""
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return Lock(descriptor)
