"""A journal: one log in one folder, opened by one process at a time, recovered whenever it is opened."""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from tezzeret_cli.errors import JournalLockedError
from tezzeret_cli.wal.disk import Disk, Held, explained, opened, sync_folder
from tezzeret_cli.wal.frame import NO_TXN, Entry, Flag, Frame, Type
from tezzeret_cli.wal.reader import RECORDS, Scan
from tezzeret_cli.wal.repair import Verdict, judge, settle
from tezzeret_cli.wal.segment import DRAFT, name, numbers
from tezzeret_cli.wal.writer import Options, Point, Writer

LOCK = "journal.lock"
_LOOKS, _LOOK_S = 10, 0.02


class Journal:
    """A journal that is open for writing, and locked until it is closed or the process dies. A child that
    was forked meanwhile, and has not executed another program, keeps the lock after its parent's death.

    ``found`` is what the recovery found at the log's end. After a ``JournalError`` from a write it takes
    no more: close it and open it again in a new process.
    """

    def __init__(self, folder: Path, writer: Writer, lock: Held, found: Verdict, disk: Disk) -> None:
        self.folder = folder
        self.found = found
        self._writer = writer
        self._lock = lock
        self._disk = disk
        self._open = True

    @classmethod
    def open(
        cls,
        folder: Path,
        options: Options | None = None,
        *,
        replay: Callable[[Frame], object] | None = None,
        accept_tail_loss: bool = False,
        create: bool = True,
        disk: Disk | None = None,
    ) -> Journal:
        """Recover the journal in ``folder``, making it first where nothing is; its parent must exist. Without
        ``create``, nothing there is a ``JournalError`` caused by ``FileNotFoundError``.

        ``replay`` gets every record in order, before the end of the log is judged: throw away what it made
        when this raises. Raises ``JournalLockedError``, ``JournalDamagedError``, ``JournalTailError`` for
        an ambiguous tail unless ``accept_tail_loss``, ``JournalVersionError``, and ``JournalError``.
        """
        disk = disk or Disk()
        with explained(folder):
            if folder.name not in disk.listdir(folder.parent):
                if not create:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                disk.mkdir(folder)
            lock = _patiently(disk, folder / LOCK)
        if lock is None:
            raise JournalLockedError(
                f"journal {folder}: another process has it open", advice="wait for that run to end"
            )
        try:
            with explained(folder):
                return _recover(folder, options or Options(), lock, replay, accept_tail_loss, disk)
        except BaseException:
            lock.release()
            raise

    @property
    def id(self) -> bytes:
        """The journal's random id, the same for ever."""
        return self._writer.journal

    @property
    def durable(self) -> int:
        """The highest sequence that is durable."""
        return self._writer.durable

    @property
    def should_compact(self) -> bool:
        """Whether the log has outgrown its options."""
        options = self._writer.options
        return self._writer.frames >= options.compact_frames or self._writer.bytes >= options.compact_bytes

    def append(self, entries: Sequence[Entry]) -> range:
        """``Writer.append``: the entries' sequences, when all are durable."""
        return self._writer.append(entries)

    def compact(self, snapshot: Sequence[bytes], keep: Sequence[Entry] = ()) -> None:
        """Replace the whole log by a snapshot that stands for it, then by ``keep``: the entries, from BEGIN
        on, of transactions that are still open. Sequences go on.

        The payloads come back as DATA frames with ``Flag.SNAPSHOT``. At any crash either the old log or the
        snapshot is there. Raises ``JournalError``.
        """
        payloads = [Entry(Type.DATA, NO_TXN, payload, flags=Flag.SNAPSHOT) for payload in snapshot]
        base = self._writer.rebase([*payloads, *keep])
        with self._writer.working():
            _remove_before(self._disk, self.folder, base)

    def move(self, target: Path) -> None:
        """Rename the journal's folder, durably, while it stays open and locked. Raises ``JournalError``."""
        with self._writer.working():
            source = self.folder
            self._disk.rename(source, target)
            self.folder = self._writer.folder = target
            sync_folder(self._disk, target.parent)
            sync_folder(self._disk, source.parent)

    def close(self) -> None:
        """Seal the log and let go of it. Raises ``JournalError`` when that fails; it is closed all the
        same, and what was acknowledged is durable."""
        if not self._open:
            return
        self._open = False
        try:
            if self._writer.failure is None:
                self._writer.seal()
        finally:
            try:
                self._writer.close()
            finally:
                self._lock.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _patiently(disk: Disk, path: Path) -> Held | None:
    """The lock, ``None`` where another holds it for longer than it takes to ask whether a run is alive."""
    for _ in range(_LOOKS):
        lock = disk.lock(path)
        if lock is not None:
            return lock
        time.sleep(_LOOK_S)
    return None


def is_live(folder: Path, disk: Disk | None = None) -> bool:
    """Whether a process has the journal in ``folder`` open, found by trying its lock. Raises
    ``JournalError`` when there is no such folder."""
    with explained(folder):
        return (disk or Disk()).is_locked(folder / LOCK)


def _recover(
    folder: Path,
    options: Options,
    lock: Held,
    replay: Callable[[Frame], object] | None,
    accept_tail_loss: bool,
    disk: Disk,
) -> Journal:
    """The order matters: nothing is believed before it is durable, and nothing is removed before what
    replaces it is."""
    names = disk.listdir(folder)
    present = numbers(names)
    sync_folder(disk, folder.parent)
    _make_durable(disk, folder, present)
    scan = Scan(folder, disk)
    for frame in scan:
        if replay is not None and frame.type in RECORDS:
            replay(frame)
    found = judge(disk, scan.ending)
    settle(disk, folder, found, accept_tail_loss=accept_tail_loss)
    for draft in names:
        if draft.endswith(DRAFT):
            disk.unlink(folder / draft)
    end = found.ending
    point = Point(
        end.journal or secrets.token_bytes(16), end.number, end.offset, end.sequence, end.epoch + 1, end.chain
    )
    writer = Writer(folder, point, options, disk)
    writer.frames += end.frames
    writer.bytes += end.bytes
    try:
        with writer.working():
            _remove_before(disk, folder, end.base)
    except BaseException:
        writer.close()
        raise
    return Journal(folder, writer, lock, found, disk)


def _make_durable(disk: Disk, folder: Path, present: list[int]) -> None:
    """Make durable what a dead process may have left in the caches, and forget what a device never got."""
    for number in present:
        with opened(disk, folder / name(number), os.O_RDONLY) as descriptor:
            disk.fsync(descriptor)
            disk.drop_cache(descriptor)
    sync_folder(disk, folder)


def _remove_before(disk: Disk, folder: Path, base: int) -> None:
    """Remove the segments that a durable base stands for."""
    old = [number for number in numbers(disk.listdir(folder)) if number < base]
    for number in old:
        disk.unlink(folder / name(number))
    if old:
        sync_folder(disk, folder)
