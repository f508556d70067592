"""Judge what stands behind the last good frame, and keep copies of what a recovery leaves behind."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tezzeret_cli.errors import JournalTailError
from tezzeret_cli.wal.disk import Disk, explained, opened, sync_folder, write_all
from tezzeret_cli.wal.frame import HEADER, Fault, Flag, decode_header, pieces
from tezzeret_cli.wal.reader import CHUNK, INTERRUPTED, Ending, Scan, damaged, later_proof, refuse
from tezzeret_cli.wal.segment import DRAFT, QUARANTINE


class Tail(enum.Enum):
    """What the end of a log is."""

    CLEAN = "clean"
    TORN = "torn"
    AMBIGUOUS = "ambiguous"
    CORRUPT = "corrupt"
    NEWER = "newer"


class Verdict(msgspec.Struct, frozen=True):
    """What stands at the end of a log, where good frames end, and the evidence in words."""

    tail: Tail
    ending: Ending
    reason: str


def inspect(folder: Path, disk: Disk | None = None) -> Verdict:
    """Read the log in ``folder`` and judge it. Changes nothing. Raises ``JournalError`` when it
    cannot be read."""
    disk = disk or Disk()
    scan = Scan(folder, disk)
    with explained(folder):
        for _ in scan:
            pass
        return judge(disk, scan.ending)


def judge(disk: Disk, ending: Ending) -> Verdict:
    """The tail's kind by the table in ``docs/format/wal.md``. Raises ``OSError``."""
    fault = ending.fault
    if fault is None:
        return Verdict(Tail.CLEAN, ending, "it ends with a whole frame")
    if fault is Fault.NEWER:
        return Verdict(Tail.NEWER, ending, fault.value)
    if ending.sealed or fault not in INTERRUPTED:
        return Verdict(Tail.CORRUPT, ending, fault.value)
    proof = later_proof(disk, ending)
    if proof:
        return Verdict(Tail.CORRUPT, ending, proof)
    if fault is Fault.SHORT:
        return Verdict(Tail.TORN, ending, fault.value)
    with opened(disk, ending.path, os.O_RDONLY) as descriptor:
        if _has_lost_sector(disk, descriptor, ending):
            return Verdict(Tail.TORN, ending, "a sector of it was never written")
    return Verdict(Tail.AMBIGUOUS, ending, fault.value)


def _has_lost_sector(disk: Disk, descriptor: int, ending: Ending) -> bool:
    """Whether a sector's share of the bad frame is zeros where it cannot be so by nature.

    A header's share always holds its magic or its checksum. A payload with zeros of its own says so.
    """
    offset = ending.offset
    head = disk.read(descriptor, HEADER, offset)
    frame = decode_header(head, 0, offset)
    if isinstance(frame, Fault):
        return _has_zeros(head, offset)
    if frame.flags & Flag.ZEROS:
        return False
    return _has_zeros(disk.read(descriptor, frame.size, offset + HEADER), offset + HEADER)


def _has_zeros(data: bytes, offset: int) -> bool:
    return any(not data[a - offset : b - offset].strip(b"\0") for a, b in pieces(offset, offset + len(data)))


def settle(disk: Disk, folder: Path, verdict: Verdict, *, accept_tail_loss: bool) -> None:
    """Make sure that the log can go on from where good frames end: keep a copy of what is cut off there.

    Raises ``JournalDamagedError``, after keeping a copy of the segment; ``JournalTailError`` for an
    ambiguous tail unless its loss is accepted; ``JournalVersionError``; ``OSError``. The log's own files
    are not written to.
    """
    ending = verdict.ending
    if verdict.tail is Tail.CORRUPT:
        error = damaged(ending, verdict.reason)
        try:
            if ending.fault is not Fault.MISSING:
                keep(disk, folder, ending.path, 0, f"{ending.path.name}.{ending.offset}.corrupt")
        except OSError as failure:
            raise error from failure
        raise error
    refuse(ending)
    if verdict.tail is Tail.AMBIGUOUS and not accept_tail_loss:
        raise JournalTailError(
            f"{ending.path}, byte {ending.offset}: the last of the journal is unreadable: {verdict.reason}; "
            f"the last good record is {ending.sequence}",
            path=ending.path,
            offset=ending.offset,
            last_good=ending.sequence,
            advice="an interrupted write or damage; accept the loss of what follows that record to go on",
        )
    if verdict.tail in (Tail.TORN, Tail.AMBIGUOUS):
        keep(disk, folder, ending.path, ending.offset, f"{ending.path.name}.{ending.offset}.broken")


def keep(disk: Disk, folder: Path, source: Path, offset: int, name: str) -> None:
    """Copy a file from ``offset`` on into ``quarantine/``, unless the copy is there. Raises ``OSError``."""
    quarantine = folder / QUARANTINE
    if QUARANTINE not in disk.listdir(folder):
        disk.mkdir(quarantine)
        sync_folder(disk, folder)
    if name in disk.listdir(quarantine):
        return
    draft = quarantine / (name + DRAFT)
    with (
        opened(disk, source, os.O_RDONLY) as reading,
        opened(disk, draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND) as writing,
    ):
        for part in _parts(disk, reading, offset):
            write_all(disk, writing, part)
        disk.fsync(writing)
    disk.rename(draft, quarantine / name)
    sync_folder(disk, quarantine)


def _parts(disk: Disk, descriptor: int, offset: int) -> Iterator[bytes]:
    while part := disk.read(descriptor, CHUNK, offset):
        yield part
        offset += len(part)
