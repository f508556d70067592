"""A journal as its user sees it: payloads that were appended, acknowledged, and come back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tezzeret_cli.wal.disk import Disk
from tezzeret_cli.wal.frame import Entry, Flag, Type
from tezzeret_cli.wal.journal import Journal
from tezzeret_cli.wal.writer import Options

TXN = b"t" * 16


def entry(payload: bytes) -> Entry:
    return Entry(Type.DATA, TXN, payload)


def payload(number: int, size: int = 40) -> bytes:
    """A payload without zeros that tells its number."""
    return f"record {number} ".encode().ljust(size, b"x")


@dataclass
class History:
    """What a user was told. ``flying`` are payloads whose append has not returned: any number of the first
    ones may be there."""

    known: list[bytes] = field(default_factory=list)
    flying: list[bytes] = field(default_factory=list)

    def append(self, journal: Journal, count: int = 1, size: int = 40) -> None:
        """Append a group, and learn that it is durable when that returns."""
        start = len(self.known)
        self.flying = [payload(start + position, size) for position in range(count)]
        journal.append([entry(data) for data in self.flying])
        self.known += self.flying
        self.flying = []

    def agrees(self, found: list[bytes]) -> bool:
        """Whether a recovery found everything known, in order, and nothing else but what was flying."""
        wanted = self.known + self.flying
        return len(self.known) <= len(found) <= len(wanted) and found == wanted[: len(found)]

    def settle(self, found: list[bytes]) -> None:
        """What a recovery found is durable now."""
        self.known, self.flying = list(found), []


def recover(
    folder: Path, disk: Disk | None = None, options: Options | None = None, **flags: bool
) -> tuple[Journal, list[bytes]]:
    """Open a journal; the payloads it holds, a snapshot's first."""
    frames = []
    journal = Journal.open(folder, options, replay=frames.append, disk=disk, **flags)
    sequences = [frame.sequence for frame in frames]
    assert sequences == sorted(set(sequences))
    snapshot = [frame.payload for frame in frames if frame.flags & Flag.SNAPSHOT]
    return journal, snapshot + [frame.payload for frame in frames if not frame.flags & Flag.SNAPSHOT]
