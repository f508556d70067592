"""The narrow port to the disk: every file operation of a journal, so that tests can fail or simulate it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tezzeret_cli.errors import JournalError
from tezzeret_cli.files import is_locked, lock_file


class Held(Protocol):
    """A lock that is held."""

    def release(self) -> None: ...


class Disk:
    """The real disk. Every method raises ``OSError`` as the system does."""

    def open(self, path: Path, flags: int) -> int:
        return os.open(path, flags | os.O_CLOEXEC, 0o644)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Write at the end of the file or less than all of it; how many bytes were taken."""
        return os.write(descriptor, data)

    def read(self, descriptor: int, count: int, offset: int) -> bytes:
        """Up to ``count`` bytes from ``offset``; fewer at the end of the file only."""
        return os.pread(descriptor, count, offset)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def drop_cache(self, descriptor: int) -> None:
        """Let go of a file's clean pages, so that what is read next comes from the device."""
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def mkdir(self, path: Path) -> None:
        os.mkdir(path)

    def listdir(self, path: Path) -> list[str]:
        return os.listdir(path)

    def lock(self, path: Path) -> Held | None:
        """Take the lock on ``path`` without waiting, ``None`` where another holds it."""
        return lock_file(path)

    def is_locked(self, path: Path) -> bool:
        """Whether another process holds the lock on ``path``, found without keeping anybody from it."""
        return is_locked(path)


@contextlib.contextmanager
def opened(disk: Disk, path: Path, flags: int) -> Iterator[int]:
    """A descriptor that is closed at the end."""
    descriptor = disk.open(path, flags)
    try:
        yield descriptor
    finally:
        disk.close(descriptor)


def write_all(disk: Disk, descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte, however few the system takes at a time. Raises ``OSError``."""
    rest = memoryview(data)
    while rest:
        taken = disk.write(descriptor, rest)
        if taken <= 0:
            raise OSError(5, "a write took nothing")
        rest = rest[taken:]


def sync_folder(disk: Disk, folder: Path) -> None:
    """Make the entries of a folder durable. Raises ``OSError``."""
    with opened(disk, folder, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        disk.fsync(descriptor)


def make_folders(disk: Disk, folder: Path) -> None:
    """Make a folder and those above it where they are missing, durably. Raises ``OSError``.

    A process that died may have made some of them, so all are synced but those that this user cannot have
    made anything in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for above in folder.parents:
        if os.access(above, os.W_OK):
            sync_folder(disk, above)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system says about a journal's disk into a ``JournalError`` with a remedy."""
    try:
        yield
    except OSError as error:
        raise explanation(path, error) from error


def explanation(path: Path, error: OSError) -> JournalError:
    """What the system says about a journal's disk, with a remedy."""
    advice = {
        28: "free some space and run the command again",
        122: "raise the quota and run the command again",
        30: "remount it writable and run the command again",
        13: "give a folder that you may write to",
    }.get(error.errno or 0, "check the disk and run the command again")
    return JournalError(f"journal {path}: {error.strerror or error}", advice=advice)
