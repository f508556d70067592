"""The journals of a store's runs as history: every attempt at a job, of runs that ended and that did not.

Reads only, while others write. A journal that ended is read once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from tezzeret_cli.errors import JournalChangedError, JournalError
from tezzeret_cli.model.collect import GcPlan
from tezzeret_cli.runs.folder import DONE, Runs
from tezzeret_cli.store.usage import tree_bytes
from tezzeret_cli.wal.frame import Flag, Frame, Type
from tezzeret_cli.wal.reader import read

_TRIES = 3


class Ended(msgspec.Struct, gc=False):
    """The end of an attempt: the part of its report that statistics need. ``when`` is in seconds."""

    status: str
    blueprint_id: str
    name: str
    strategy: str
    duration_ms: float
    reason: str | None
    reason_kind: str | None
    prewarm_p50_ms: float | None
    prewarm_p95_ms: float | None
    when: float = 0.0


class RunHistory(msgspec.Struct):
    """What one journal says. ``counts`` are of its report, once it ended at ``when``; ``problem`` is why it
    could not be read to its end."""

    run: str
    done: bool
    strategies: tuple[str, ...] = ()
    jobs: list[Ended] = []
    started: list[tuple[float, int]] = []
    retried: list[tuple[float, int]] = []
    lost: list[tuple[float, int]] = []
    counts: dict[str, int] | None = None
    abandoned: bool = False
    collection: bool = False
    prewarm: bool = False
    freed_bytes: int = 0
    when: float = 0.0
    records: int = 0
    committed: int = 0
    aborted: int = 0
    open: int = 0
    bytes: int = 0
    problem: str | None = None


class _Strategy(msgspec.Struct):
    name: str


class _Job(msgspec.Struct):
    strategy: _Strategy


class _Plan(msgspec.Struct):
    jobs: tuple[_Job, ...]


class _RunBegan(msgspec.Struct, tag="run_began"):
    plan: _Plan


class _RunEnded(msgspec.Struct, tag="run_ended"):
    counts: dict[str, int]


class _RunAbandoned(msgspec.Struct, tag="run_abandoned"):
    pass


class _JobBegan(msgspec.Struct, tag="job_began", gc=False):
    number: int


class _JobRetried(msgspec.Struct, tag="job_retried", gc=False):
    pass


class _JobStaged(msgspec.Struct, tag="job_staged", gc=False):
    pass


class _JobEnded(msgspec.Struct, tag="job_ended", gc=False):
    report: Ended


class _JobLost(msgspec.Struct, tag="job_lost", gc=False):
    pass


class _GcBegan(msgspec.Struct, tag="gc_began"):
    plan: GcPlan


class _GcMarked(msgspec.Struct, tag="gc_marked", gc=False):
    pass


class _GcEnded(msgspec.Struct, tag="gc_ended"):
    freed_bytes: int


class _PrewarmBegan(msgspec.Struct, tag="prewarm_began"):
    pass


class _BundleBegan(msgspec.Struct, tag="bundle_began", gc=False):
    pass


class _BundleTimed(msgspec.Struct, tag="bundle_timed", gc=False):
    pass


class _BundleEnded(msgspec.Struct, tag="bundle_ended", gc=False):
    pass


class _PrewarmEnded(msgspec.Struct, tag="prewarm_ended"):
    pass


class _Open(msgspec.Struct):
    number: int


class _Done(msgspec.Struct):
    report: Ended


class _Snapshot(msgspec.Struct):
    plan: _Plan | None
    open: dict[str, _Open]
    done: dict[int, _Done]


_Record = (
    _RunBegan
    | _RunEnded
    | _RunAbandoned
    | _JobBegan
    | _JobRetried
    | _JobStaged
    | _JobEnded
    | _JobLost
    | _GcBegan
    | _GcMarked
    | _GcEnded
    | _PrewarmBegan
    | _BundleBegan
    | _BundleTimed
    | _BundleEnded
    | _PrewarmEnded
)
_DECODER: msgspec.msgpack.Decoder[_Record] = msgspec.msgpack.Decoder(_Record)


class History:
    """The runs of one store on this host."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._done: dict[str, RunHistory] = {}

    def __iter__(self) -> Iterator[RunHistory]:
        """Every run, oldest first. What cannot be read says so in its ``problem``. Raises ``JournalError``
        when the folder of the journals cannot be used."""
        for run, folders in self._runs.journals().items():
            known = self._done.get(run) or _patiently(folders)
            if known is not None:
                if known.done:
                    self._done[run] = known
                yield known


def _patiently(folders: tuple[Path, Path]) -> RunHistory | None:
    """One run's history, wherever it moves meanwhile; ``None`` when it was removed."""
    for folder in folders * _TRIES:
        found = RunHistory(folder.name, folder.parent.name == DONE)
        try:
            _read(folder, found)
        except JournalChangedError:
            continue
        except JournalError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                continue
            found.problem = str(error)
        found.bytes = tree_bytes(str(folder))
        return found
    return None


def _read(folder: Path, found: RunHistory) -> None:
    open_jobs: dict[bytes, int] = {}
    decode = _DECODER.decode
    for frame in read(folder):
        found.records += 1
        kind = frame.type
        if kind == Type.COMMIT:
            found.committed += 1
        elif kind == Type.ABORT:
            found.aborted += 1
        try:
            if frame.flags & Flag.SNAPSHOT:
                _take_snapshot(found, open_jobs, frame)
            else:
                _take(found, open_jobs, frame, decode(frame.payload))
        except msgspec.ValidationError:
            continue  # of a kind that statistics know nothing of
    found.open = len(open_jobs) + (found.when == 0.0)


def _take(found: RunHistory, open_jobs: dict[bytes, int], frame: Frame, record: _Record) -> None:
    when = frame.timestamp * 1e-9
    match record:
        case _JobStaged() | _GcMarked() | _BundleTimed():
            pass
        case _BundleBegan():
            open_jobs[frame.txn] = -1
        case _BundleEnded():
            open_jobs.pop(frame.txn, None)
        case _JobBegan(number):
            open_jobs[frame.txn] = number
            found.started.append((when, number))
        case _JobEnded(report):
            open_jobs.pop(frame.txn, None)
            report.when = when
            found.jobs.append(report)
        case _JobRetried():
            found.retried.append((when, open_jobs.get(frame.txn, -1)))
        case _JobLost():
            found.lost.append((when, open_jobs.pop(frame.txn, -1)))
        case _RunBegan(plan):
            found.strategies = tuple(job.strategy.name for job in plan.jobs)
        case _RunEnded(counts):
            found.counts, found.when = counts, when
        case _RunAbandoned():
            found.abandoned, found.when = True, when
        case _GcBegan():
            found.collection = True
        case _GcEnded(freed):
            found.freed_bytes, found.when = freed, when
        case _PrewarmBegan():
            found.prewarm = True
        case _PrewarmEnded():
            found.when = when


def _take_snapshot(found: RunHistory, open_jobs: dict[bytes, int], frame: Frame) -> None:
    """What a compaction kept of a run: how its jobs ended, at the time of the compaction."""
    state = msgspec.msgpack.decode(frame.payload, type=_Snapshot)
    when = frame.timestamp * 1e-9
    found.strategies = tuple(job.strategy.name for job in state.plan.jobs) if state.plan else ()
    for done in state.done.values():
        done.report.when = when
        found.jobs.append(done.report)
    open_jobs.update({bytes.fromhex(txn): job.number for txn, job in state.open.items()})
    found.started += [(when, number) for number in (*state.done, *open_jobs.values())]
