"""Read a log from its base to its end, frame by frame, in bounded memory. Never writes, never locks."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import msgspec

from tezzeret_cli.errors import JournalChangedError, JournalDamagedError, JournalVersionError
from tezzeret_cli.wal.disk import Disk, explained, opened
from tezzeret_cli.wal.frame import (
    HEADER,
    MAGIC,
    NO_CHAIN,
    Fault,
    Frame,
    Type,
    continues,
    decode_header,
    read_payload,
)
from tezzeret_cli.wal.segment import Segment, name, numbers, read_opening

CHUNK = 1 << 20
_SEGMENT, _SEAL = int(Type.SEGMENT), int(Type.SEAL)
RECORDS = frozenset({Type.BEGIN, Type.DATA, Type.COMMIT, Type.ABORT})
INTERRUPTED = frozenset({Fault.SHORT, Fault.CHECKSUM, Fault.PAYLOAD, Fault.PADDING})
"""What an interrupted write can leave. Anything else was written whole, and wrong."""


class Ending(msgspec.Struct, frozen=True):
    """Where the good frames of a log end, and why there.

    Good frames end at ``offset`` of ``path``; ``sequence``, ``epoch`` and ``chain`` are those of the last
    one. ``fault`` is what stands there, ``None`` at the end of the file. ``sealed`` says that what stands
    there was durable before something that is there too, so that no interrupted write explains it.
    ``number`` is 0 where there is no log at all.
    """

    path: Path
    number: int = 0
    offset: int = 0
    size: int = 0
    sequence: int = 0
    epoch: int = 0
    chain: bytes = NO_CHAIN
    salt: bytes = b""
    journal: bytes = b""
    base: int = 0
    frames: int = 0
    bytes: int = 0
    closed: bool = False
    fault: Fault | None = None
    sealed: bool = False


class Scan:
    """One pass over the log in ``folder``. Iterate over it once; then ``ending`` is set.

    Gives every frame, of every known type. ``OSError`` passes through. Damage does not raise: it ends the
    pass, and ``ending`` says what was found.
    """

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.ending = Ending(folder)
        self._folder = folder
        self._disk = disk
        self._sequence = 0
        self._chain = NO_CHAIN
        self._epoch = 0
        self._offset = 0
        self._frames = 0
        self._bytes = 0
        self._whole = 0
        self._closed = False
        self._journal = b""

    def __iter__(self) -> Iterator[Frame]:
        segments = self._segments()
        if isinstance(segments, Ending):
            self.ending = segments
            return
        for position, segment in enumerate(segments):
            after = segments[position + 1] if position + 1 < len(segments) else None
            with opened(self._disk, segment.path, os.O_RDONLY) as descriptor:
                size = self._disk.size(descriptor)
                limit = after.opening.predecessor_length if after else size
                fault = self._enter(segment, position == 0)
                if fault is None:
                    fault = yield from self._frames_of(descriptor, segment, limit)
            self._bytes += self._offset
            if after and not fault and self._chain != after.opening.predecessor_chain:
                fault = Fault.SEAL
            if fault or not after:
                self.ending = self._end(segment, segments[0], size, fault, sealed=bool(after))
                return

    def _segments(self) -> list[Segment] | Ending:
        """The log's segments, ascending, from its newest base; or where they do not fit together."""
        present = numbers(self._disk.listdir(self._folder))
        found: list[Segment] = []
        for number in reversed(present):
            path = self._folder / name(number)
            segment = read_opening(self._disk, self._folder, number)
            if isinstance(segment, Fault):
                return Ending(path, number, fault=segment, sealed=True)
            if found and found[-1].opening.predecessor != number:
                break
            found.append(segment)
            if segment.opening.base or not segment.opening.predecessor:
                return found[::-1]
        if not found:
            return Ending(self._folder)
        missing = found[-1].opening.predecessor
        return Ending(self._folder / name(missing), missing, fault=Fault.MISSING, sealed=True)

    def _enter(self, segment: Segment, is_base: bool) -> Fault | None:
        """Check that a segment goes on where the one before ended."""
        first, opening = segment.first, segment.opening
        if is_base:
            self._sequence, self._epoch = first.sequence - 1, first.epoch
            self._chain, self._journal = opening.predecessor_chain, opening.journal
        self._offset = 0
        self._whole = opening.whole
        self._closed = False
        if opening.journal != self._journal or first.epoch < self._epoch:
            return Fault.SEGMENT
        self._epoch = first.epoch
        return None

    def _frames_of(
        self, descriptor: int, segment: Segment, limit: int
    ) -> Generator[Frame, None, Fault | None]:
        """The frames before ``limit``; returns the fault that ended them."""
        read, number, salt, epoch = self._disk.read, segment.number, segment.first.salt, self._epoch
        sequence, chain, offset, count = self._sequence, self._chain, 0, 0
        data, start = b"", 0
        kind = 0
        fault: Fault | None = None
        while offset < limit:
            at = offset - start
            if len(data) - at < HEADER:
                data, start, at = read(descriptor, min(CHUNK, limit - offset), offset), offset, 0
            frame = decode_header(data, at, offset)
            if isinstance(frame, Fault):
                fault = frame
                break
            end = frame.next_offset
            if end > limit:
                fault = Fault.SHORT
                break
            if end - start > len(data):
                data, start, at = read(descriptor, max(CHUNK, end - offset), offset), offset, 0
            fault = read_payload(data, at, frame)
            if fault:
                break
            fault = _misfit(frame, salt, number, epoch, sequence + 1)
            if fault:
                break
            if not continues(data, at, frame, chain):
                fault = Fault.CHAIN
                break
            if (frame.type == _SEGMENT) != (offset == 0):
                fault = Fault.OPENING
                break
            if kind == _SEAL:
                fault = Fault.AFTER_SEAL
                break
            sequence, chain, offset, kind = frame.sequence, frame.chain, end, frame.type
            count += 1
            yield frame
        self._sequence, self._chain, self._offset = sequence, chain, offset
        self._frames += count
        self._whole -= max(0, count - 1)
        self._closed = kind == _SEAL
        return fault

    def _end(self, last: Segment, base: Segment, size: int, fault: Fault | None, sealed: bool) -> Ending:
        if fault is None and self._whole > 0:
            fault = Fault.SHORT
        return Ending(
            path=last.path,
            number=last.number,
            offset=self._offset,
            size=size,
            sequence=self._sequence,
            epoch=self._epoch,
            chain=self._chain,
            salt=last.first.salt,
            journal=base.opening.journal,
            base=base.number,
            frames=self._frames,
            bytes=self._bytes,
            closed=self._closed,
            fault=fault,
            sealed=sealed or (fault is not None and (self._whole > 0 or self._closed or self._offset == 0)),
        )


def _misfit(frame: Frame, salt: bytes, number: int, epoch: int, sequence: int) -> Fault | None:
    if frame.sequence == sequence and frame.salt == salt and frame.segment == number and frame.epoch == epoch:
        return None
    if frame.salt != salt:
        return Fault.SALT
    return Fault.SEQUENCE if frame.sequence != sequence else Fault.SEGMENT


def read(folder: Path, disk: Disk | None = None) -> Iterator[Frame]:
    """The records of the log in ``folder``, while another process may be appending to it.

    Stops at the last whole frame: what follows is being written, or is for recovery to judge. Raises
    ``JournalDamagedError`` where something that was durable is damaged, ``JournalChangedError`` when a
    compaction removed what was to be read next, ``JournalVersionError``, and ``JournalError``.
    """
    disk = disk or Disk()
    scan = Scan(folder, disk)
    with explained(folder):
        disk.listdir(folder)
        try:
            for frame in scan:
                if frame.type in RECORDS:
                    yield frame
        except FileNotFoundError:
            raise JournalChangedError(
                f"journal {folder}: it was compacted meanwhile", advice="read it again"
            ) from None
        refuse(scan.ending)
        proof = later_proof(disk, scan.ending) if scan.ending.fault else None
    if proof:
        raise damaged(scan.ending, proof)


def refuse(ending: Ending) -> None:
    """Raise if what ended a scan is by itself not what an interrupted write leaves."""
    fault = ending.fault
    if fault is Fault.NEWER:
        raise JournalVersionError(f"{ending.path}: {fault.value}", advice="use a newer tezzeret")
    if fault and (ending.sealed or fault not in INTERRUPTED):
        raise damaged(ending, fault.value)


def later_proof(disk: Disk, ending: Ending) -> str | None:
    """A later frame of the segment that was written when the bad one was already durable, in words.

    Looks no further than the file was long when it was read. Raises ``OSError``.
    """
    position = ending.offset
    with opened(disk, ending.path, os.O_RDONLY) as descriptor:
        while position < ending.size:
            data = disk.read(descriptor, min(CHUNK + HEADER, ending.size - position), position)
            at = data.find(MAGIC)
            while 0 <= at < CHUNK:
                frame = decode_header(data, at, position + at)
                if (
                    isinstance(frame, Frame)
                    and (frame.salt, frame.segment) == (ending.salt, ending.number)
                    and frame.durable > ending.sequence
                ):
                    fault = ending.fault.value if ending.fault else ""
                    return f"{fault}, and frame {frame.sequence} says that it was already durable"
                at = data.find(MAGIC, at + 1)
            position += CHUNK
    return None


def damaged(ending: Ending, reason: str) -> JournalDamagedError:
    """The error that says where a log is damaged and what can be trusted."""
    return JournalDamagedError(
        f"{ending.path}, byte {ending.offset}: the journal is damaged: {reason}; "
        f"the last good record is {ending.sequence}",
        path=ending.path,
        offset=ending.offset,
        last_good=ending.sequence,
        advice="restore it from a backup, or move its folder away to begin anew",
    )
