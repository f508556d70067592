"""Health on record: a journal of its own beside the runs, shared by all runs of a store on this host."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tezzeret_cli.errors import JournalDamagedError, JournalError, JournalLockedError
from tezzeret_cli.health.state import apply
from tezzeret_cli.model.health import BreakerRule, Health, HealthRecord
from tezzeret_cli.wal.frame import Flag, Frame, Type
from tezzeret_cli.wal.journal import Journal
from tezzeret_cli.wal.reader import read
from tezzeret_cli.wal.writer import Entry, Options

FOLDER = "health"
_OPTIONS = Options(compact_frames=500)
_PATIENCE_S = 10.0


class HealthRecords:
    """The journal below ``state``, a run's state folder. It is open only while something is written, so
    that runs side by side see each other's failures."""

    def __init__(self, state: Path, rules: Sequence[BreakerRule]) -> None:
        self.folder = state / FOLDER
        self._rules = tuple(rules)

    def read(self) -> Health:
        """Health as the records have it; locks and writes nothing. Raises ``JournalError``."""
        found = _Replay(self._rules)
        if self.folder.exists():
            for frame in read(self.folder):
                found.add(frame)
        return found.health

    def add(self, records: Sequence[HealthRecord]) -> tuple[Health, Health]:
        """Append ``records``, durably; health before and after them. Raises ``JournalError``, or its kind for
        damage."""
        found = _Replay(self._rules)
        journal = self._open(found)
        with journal:
            health = found.health
            for record in records:
                journal.append([Entry(Type.DATA, journal.id, msgspec.msgpack.encode(record))])
                health = apply(health, record, self._rules)
            if journal.should_compact:
                journal.compact([msgspec.msgpack.encode(health)])
        return found.health, health

    def set_aside(self) -> Path:
        """Move a damaged journal out of the way, as evidence; where it is now. Raises ``JournalError``."""
        target = self.folder.with_name(f"{FOLDER}.damaged-{time.time_ns()}")
        try:
            self.folder.rename(target)
        except OSError as error:
            raise JournalError(f"{self.folder}: {error.strerror}") from error
        return target

    def _open(self, found: _Replay) -> Journal:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return Journal.open(self.folder, _OPTIONS, replay=found.add)
            except JournalLockedError:
                if time.monotonic() > deadline:
                    raise


class _Replay:
    def __init__(self, rules: Sequence[BreakerRule]) -> None:
        self.health = Health()
        self._rules = rules

    def add(self, frame: Frame) -> None:
        try:
            if frame.flags & Flag.SNAPSHOT:
                self.health = msgspec.msgpack.decode(frame.payload, type=Health)
                return
            record = msgspec.msgpack.decode(frame.payload, type=HealthRecord)
        except msgspec.MsgspecError as error:
            raise JournalDamagedError(
                f"record {frame.sequence} of the forge's health: {error}",
                path=Path(FOLDER),
                offset=frame.next_offset,
                last_good=frame.sequence - 1,
            ) from error
        self.health = apply(self.health, record, self._rules)
