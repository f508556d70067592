"""Write a run's journal: every method returns when its record is durable."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tezzeret_cli.errors import JournalDamagedError
from tezzeret_cli.model.collect import GcPlan, Item
from tezzeret_cli.model.manifest import Reason
from tezzeret_cli.model.prewarm import PrewarmPlan, Sample
from tezzeret_cli.model.records import (
    SCHEMA,
    BundleBegan,
    BundleEnded,
    BundleTimed,
    GcBegan,
    GcEnded,
    GcMarked,
    JobBegan,
    JobEnded,
    JobLost,
    JobRetried,
    JobStaged,
    PrewarmBegan,
    PrewarmEnded,
    Record,
    RunAbandoned,
    RunBegan,
    RunEnded,
)
from tezzeret_cli.model.report import JobReport
from tezzeret_cli.model.run import RunPlan
from tezzeret_cli.runs.state import ImpossibleRecord, RunState, apply, frame_type, replay
from tezzeret_cli.wal.frame import Entry, Frame
from tezzeret_cli.wal.journal import Journal
from tezzeret_cli.wal.repair import Tail
from tezzeret_cli.wal.segment import name


class JobLedger:
    """The part of one attempt at a job. After ``ended`` or ``lost`` it takes no more."""

    def __init__(self, ledger: Ledger, txn: bytes) -> None:
        self._ledger = ledger
        self._txn = txn

    def retried(self, reason: Reason, strategy: str | None) -> None:
        self._ledger.write(self._txn, JobRetried(reason, strategy))

    def staged(self, staged: JobStaged) -> None:
        self._ledger.write(self._txn, staged)

    def ended(self, report: JobReport) -> None:
        self._ledger.write(self._txn, JobEnded(report))

    def lost(self, reason: str) -> None:
        self._ledger.write(self._txn, JobLost(reason))


class BundleLedger:
    """The part of one bundle of a prewarm. After ``ended`` it takes no more."""

    def __init__(self, ledger: Ledger, txn: bytes) -> None:
        self._ledger = ledger
        self._txn = txn

    def timed(self, sample: Sample) -> None:
        self._ledger.write(self._txn, BundleTimed(sample))

    def ended(self, status: str, *, kept: bool) -> None:
        self._ledger.write(self._txn, BundleEnded(status, kept))


class Ledger:
    """The journal of one run, open for writing, with the state it stands for.

    Every method that writes raises ``JournalError`` when its record is not durable; then nothing more is
    taken, and the run can be resumed.
    """

    def __init__(self, run_id: str, journal: Journal, state: RunState) -> None:
        self.run_id = run_id
        self.state = state
        self._journal = journal

    @classmethod
    def open(cls, folder: Path, *, create: bool = False, accept_tail_loss: bool = False) -> Ledger:
        """Recover the journal of the run in ``folder``, or make it where that is asked for.

        Raises ``JournalLockedError`` when the run is alive, ``JournalDamagedError`` and its kind when its
        journal cannot be trusted, ``JournalError`` when it cannot be read or written.
        """
        found = Replay()
        journal = Journal.open(folder, replay=found.add, accept_tail_loss=accept_tail_loss, create=create)
        return cls(folder.name, journal, found.state)

    @property
    def cut_off(self) -> str | None:
        """What recovery left out at the end of the journal, in words; ``None`` when it ended well."""
        found = self._journal.found
        if found.tail is Tail.CLEAN:
            return None
        last = found.ending.sequence
        return f"the journal's last write was cut off ({found.reason}); it goes on after record {last}"

    def began(self, plan: RunPlan | GcPlan | PrewarmPlan) -> None:
        """The run, the garbage collection or the prewarm begins."""
        match plan:
            case GcPlan():
                self.write(self._run, GcBegan(plan))
            case PrewarmPlan():
                self.write(self._run, PrewarmBegan(plan))
            case _:
                self.write(self._run, RunBegan(plan))

    def job(self, number: int, key: str) -> JobLedger:
        """An attempt at a job begins."""
        txn = secrets.token_bytes(16)
        self.write(txn, JobBegan(number, key))
        return JobLedger(self, txn)

    def open_job(self, txn: str) -> JobLedger:
        """The part of an attempt that a dead process left open."""
        return JobLedger(self, bytes.fromhex(txn))

    def ended(self, counts: Mapping[str, int]) -> None:
        """Every job ended."""
        self.write(self._run, RunEnded(dict(counts)))

    def marked(self, items: Sequence[Item]) -> None:
        """These are about to be removed."""
        self.write(self._run, GcMarked(tuple(items)))

    def collected(self, counts: Mapping[str, int], freed_bytes: int) -> None:
        """The garbage collection ended."""
        self.write(self._run, GcEnded(dict(counts), freed_bytes))

    def timing(self, bundle: str) -> BundleLedger:
        """A bundle is about to be timed."""
        txn = secrets.token_bytes(16)
        self.write(txn, BundleBegan(bundle))
        return BundleLedger(self, txn)

    def open_timing(self, txn: str) -> BundleLedger:
        """The part of a bundle that a dead process left open."""
        return BundleLedger(self, bytes.fromhex(txn))

    def prewarmed(self, counts: Mapping[str, int]) -> None:
        """The prewarm ended."""
        self.write(self._run, PrewarmEnded(dict(counts)))

    def abandoned(self, reason: str) -> None:
        """Nobody will finish the run."""
        self.write(self._run, RunAbandoned(reason))

    def write(self, txn: bytes, record: Record) -> None:
        """Append one record; durable when this returns."""
        self._journal.append([Entry(frame_type(record), txn, msgspec.msgpack.encode(record), SCHEMA)])
        self.state = apply(self.state, txn, record)
        if self._journal.should_compact:
            self._journal.compact([msgspec.msgpack.encode(self.state)])

    def move(self, folder: Path) -> None:
        """Rename the run's folder while it stays alive."""
        self._journal.move(folder)

    def close(self) -> None:
        """Let go of the journal. What was written is durable already."""
        self._journal.close()

    @property
    def _run(self) -> bytes:
        return self._journal.id


class Replay:
    """Collects the state while the journal is recovered."""

    def __init__(self) -> None:
        self.state = RunState()

    def add(self, frame: Frame) -> None:
        try:
            self.state = replay(self.state, frame)
        except ImpossibleRecord as error:
            file = name(frame.segment)
            raise JournalDamagedError(
                f"{file}: record {frame.sequence}: {error}",
                path=Path(file),
                offset=frame.next_offset,
                last_good=frame.sequence - 1,
                advice="no version of tezzeret writes this; move the run's folder away to begin anew",
            ) from error
