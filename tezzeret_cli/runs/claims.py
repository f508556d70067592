"""Claims: a job that one live run is doing is not done by another one at the same time."""

from __future__ import annotations

from pathlib import Path

from tezzeret_cli.wal.disk import Disk, Held, explained

SLOTS = 256


class Claims:
    """Locks by job key, held by the process that does the job and gone when it dies.

    Keys share ``SLOTS`` lock files, so that these do not grow in number; two keys of one slot only wait
    for each other.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._disk = Disk()
        self._mine: set[int] = set()

    def claim(self, key: str) -> Claim | None:
        """Take the claim on a job, ``None`` while it is held. Raises ``JournalError``."""
        slot = int(key[:8], 16) % SLOTS
        if slot in self._mine:
            return None
        with explained(self._folder):
            held = self._disk.lock(self._folder / f"{slot:02x}.lock")
        if held is None:
            return None
        self._mine.add(slot)
        return Claim(self._mine, slot, held)


class Claim:
    """A claim that is held until it is released."""

    def __init__(self, mine: set[int], slot: int, held: Held) -> None:
        self._mine = mine
        self._slot = slot
        self._held = held

    def release(self) -> None:
        self._held.release()
        self._mine.discard(self._slot)
