"""Append to a log: durable when it returns, and done for good after the first failure."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Literal

import msgspec

from tezzeret_cli.errors import JournalError
from tezzeret_cli.wal.disk import Disk, explained, explanation, write_all
from tezzeret_cli.wal.frame import HEADER, MAX_PAYLOAD, NO_CHAIN, NO_TXN, Entry, Type, encode
from tezzeret_cli.wal.segment import Opening, create, new_salt

_BATCH = 1 << 20
_OWN = frozenset((0, Type.SEGMENT, Type.SEAL))
_TXN = len(NO_TXN)


class Options(msgspec.Struct, frozen=True):
    """How a journal is kept. Sizes in bytes. ``sync`` is how appends become durable; ``auto`` takes
    ``dsync`` where the filesystem knows it, and that is decided when a segment is opened, never later."""

    segment_bytes: int = 64 << 20
    compact_frames: int = 500_000
    compact_bytes: int = 256 << 20
    sync: Literal["auto", "dsync", "fsync"] = "auto"


class Point(msgspec.Struct):
    """Where a log stands: its newest segment and the last frame in it. 0 is before the first."""

    journal: bytes
    number: int = 0
    length: int = 0
    sequence: int = 0
    epoch: int = 0
    chain: bytes = NO_CHAIN


class _Work:
    """``with`` it, a writer works. Every append pays for this: a class takes half as long as a generator."""

    __slots__ = ("_writer",)

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        writer = self._writer
        if writer.failure is not None:
            raise JournalError(
                f"journal {writer.folder}: takes no more: {writer.failure}", advice="run the command again"
            )
        writer.failure = "a write was interrupted"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        writer = self._writer
        if error is None:
            writer.failure = None
        elif isinstance(error, OSError):
            writer.failure = f"a write failed: {error.strerror or error}"
            raise explanation(writer.folder, error) from error


class Writer:
    """Appends to the log in ``folder``, in a new segment after ``point``. Whoever makes one holds the lock.

    After a failed or interrupted write every method raises ``JournalError``: what the disk then holds is
    found out by a recovery, never by trying again.
    """

    def __init__(self, folder: Path, point: Point, options: Options, disk: Disk) -> None:
        self.folder = folder
        self.options = options
        self._disk = disk
        self._point = point
        self._durable = point.sequence
        self._salt = b""
        self._descriptor = -1
        self._sync = False
        self.failure: str | None = None
        """Why it takes no more."""
        self._lock = Lock()
        self.frames = 0
        self.bytes = 0
        """How much was written since the last ``rebase``; whoever knows the log's past adds to it."""
        with self.working():
            self._advance()

    @property
    def durable(self) -> int:
        """The highest sequence that is durable."""
        return self._durable

    @property
    def number(self) -> int:
        """The number of the segment that is written."""
        return self._point.number

    @property
    def journal(self) -> bytes:
        """The log's random id."""
        return self._point.journal

    def append(self, entries: Sequence[Entry]) -> range:
        """Append entries in one durable write and return their sequences.

        When it returns, all are durable. When it raises ``JournalError``, none is acknowledged: any number
        of the first ones may be there after a recovery. An entry that is refused beforehand (its payload
        is too large, its transaction id is not 16 bytes, its type is the log's own) writes nothing and harms
        nothing.
        """
        _check(entries)
        if not entries:
            return range(0)
        with self._lock, self.working():
            if self._point.length >= self.options.segment_bytes:
                self._seal()
                self._advance()
            first = self._point.sequence + 1
            self._put(self._encode(entries))
            return range(first, self._point.sequence + 1)

    def rebase(self, entries: Sequence[Entry]) -> int:
        """Begin a segment with entries that stand for the whole log before it; its number.

        When this returns, earlier segments are not needed any more. Raises ``JournalError``.
        """
        _check(entries)
        with self._lock, self.working():
            self._seal()
            self._advance(entries, base=True)
            self.frames = self.bytes = 0
            return self._point.number

    def seal(self) -> None:
        """Say that the log ends here on purpose. Raises ``JournalError``."""
        with self._lock, self.working():
            self._seal()

    def close(self) -> None:
        """Close the file. What was acknowledged is durable already; this adds nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        self.failure = self.failure or "it is closed"
        if descriptor >= 0:
            with explained(self.folder):
                self._disk.close(descriptor)

    def working(self) -> _Work:
        """A piece of work on the log's files that fails the writer for good unless it ends well."""
        return _Work(self)

    def _seal(self) -> None:
        self._put(self._encode([Entry(Type.SEAL, NO_TXN)]))

    def _put(self, data: bytes) -> None:
        write_all(self._disk, self._descriptor, data)
        if self._sync:
            self._disk.fsync(self._descriptor)
        self.bytes += len(data)
        self._durable = self._point.sequence

    def _encode(self, entries: Sequence[Entry]) -> bytes:
        """The entries as the next frames; the point moves on."""
        point = self._point
        data, point.chain = encode(
            entries,
            point.sequence + 1,
            point.epoch,
            time.time_ns(),
            self._durable,
            point.number,
            self._salt,
            point.chain,
            point.length,
        )
        point.sequence += len(entries)
        point.length += len(data)
        self.frames += len(entries)
        return data

    def _advance(self, entries: Sequence[Entry] = (), *, base: bool = False) -> None:
        """Make the next segment, begin it with ``entries``, and go on in it."""
        point = self._point
        opening = Opening(point.journal, point.number, point.length, point.chain, len(entries), base)
        point.number, point.length = point.number + 1, 0
        self._salt = new_salt()
        first = Entry(Type.SEGMENT, NO_TXN, msgspec.msgpack.encode(opening))
        path = create(self._disk, self.folder, point.number, self._batches([first, *entries]))
        self._durable = point.sequence
        self.bytes += point.length
        before, self._descriptor = self._descriptor, -1
        if before >= 0:
            self._disk.close(before)
        self._open(path)

    def _batches(self, entries: Iterable[Entry]) -> Iterator[bytes]:
        batch: list[Entry] = []
        size = 0
        for entry in entries:
            batch.append(entry)
            size += HEADER + len(entry.payload)
            if size >= _BATCH:
                yield self._encode(batch)
                batch, size = [], 0
        yield self._encode(batch)

    def _open(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND
        if self.options.sync != "fsync":
            try:
                self._descriptor = self._disk.open(path, flags | os.O_DSYNC)
            except OSError as error:
                if self.options.sync == "dsync" or error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise
            else:
                self._sync = False
                return
        self._descriptor = self._disk.open(path, flags)
        self._sync = True


def _check(entries: Sequence[Entry]) -> None:
    for entry in entries:
        if entry.type in _OWN:
            raise JournalError(f"a record of type {entry.type}: that is the log's own")
        if len(entry.payload) > MAX_PAYLOAD:
            raise JournalError(f"a record of {len(entry.payload)} bytes: the most is {MAX_PAYLOAD}")
        if len(entry.txn) != _TXN:
            raise JournalError(f"a transaction id of {len(entry.txn)} bytes: it has {_TXN}")
