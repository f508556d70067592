"""Claims: a job that one live run is doing is not done by another one at the same time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tezzeret_cli.wal.disk import Disk, Held, explained

SLOTS = 256


class Claims:
    """Locks by job key, held by the process that does the job and gone when it dies.

    Keys share ``SLOTS`` lock files, so that these do not grow in number. Two keys of one slot wait for each
    other in different processes only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._disk = Disk()
        self._mine: dict[int, _Slot] = {}

    def claim(self, key: str) -> Claim | None:
        """Take the claim on a job, ``None`` while it is held. Raises ``JournalError``."""
        number = int(key[:8], 16) % SLOTS
        slot = self._mine.get(number)
        if slot is None:
            with explained(self._folder):
                held = self._disk.lock(self._folder / f"{number:02x}.lock")
            if held is None:
                return None
            slot = self._mine[number] = _Slot(held)
        if key in slot.keys:
            return None
        slot.keys.add(key)
        return Claim(self, number, key)

    def release(self, number: int, key: str) -> None:
        slot = self._mine[number]
        slot.keys.remove(key)
        if not slot.keys:
            del self._mine[number]
            slot.held.release()


@dataclasses.dataclass
class _Slot:
    """A lock file that this process holds, and for which keys."""

    held: Held
    keys: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim that is held until it is released, once."""

    claims: Claims
    slot: int
    key: str

    def release(self) -> None:
        self.claims.release(self.slot, self.key)
