"""What a run's journal says, replayed. Pure: records in, state out."""

from __future__ import annotations

import msgspec

from tezzeret_cli.model.collect import GcPlan
from tezzeret_cli.model.job import Job
from tezzeret_cli.model.prewarm import PrewarmPlan, Sample
from tezzeret_cli.model.records import (
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
    PrewarmRecord,
    Record,
    RunAbandoned,
    RunBegan,
    RunEnded,
)
from tezzeret_cli.model.report import JobReport
from tezzeret_cli.model.run import RunPlan
from tezzeret_cli.wal.frame import Flag, Frame, Type


class ImpossibleRecord(Exception):
    """A record that no writer puts in that place: the journal was not written by this program."""


class OpenJob(msgspec.Struct):
    """A job that began and has not ended. ``staged`` is its last ``JobStaged``."""

    number: int
    staged: JobStaged | None = None


class Done(msgspec.Struct):
    """A job that ended; ``manifest_sha256`` of its bundle, ``None`` where there is none."""

    report: JobReport
    manifest_sha256: str | None = None


class Timing(msgspec.Struct):
    """A bundle that is being timed, or whose ``sample`` is about to be kept."""

    bundle: str
    sample: Sample | None = None


class Prewarming(msgspec.Struct):
    """Where a prewarm stands: bundles under way by transaction, and the status of those that ended."""

    plan: PrewarmPlan
    open: dict[str, Timing] = {}
    done: dict[str, str] = {}


class RunState(msgspec.Struct):
    """Where a run stands. Its size follows the jobs of the run, not the length of its journal. ``collection``
    is the plan of a garbage collection, which has no ``plan`` and nothing that could be resumed; nor has a
    prewarm, but what it measured is to be kept."""

    plan: RunPlan | None = None
    open: dict[str, OpenJob] = {}
    done: dict[int, Done] = {}
    ending: RunEnded | RunAbandoned | GcEnded | PrewarmEnded | None = None
    collection: GcPlan | None = None
    prewarming: Prewarming | None = None

    @property
    def unsettled(self) -> bool:
        """Whether something is left to do or to keep when nobody is at it."""
        return self.ending is None and (self.plan is not None or self.prewarming is not None)

    @property
    def finished(self) -> dict[int, JobReport]:
        """The reports of the jobs that ended, by number."""
        return {number: done.report for number, done in self.done.items()}

    @property
    def left(self) -> dict[int, Job]:
        """The jobs that are still to be done, by number."""
        if self.plan is None:
            return {}
        over = self.done.keys() | self.plan.skipped.keys()
        return {number: job for number, job in enumerate(self.plan.jobs) if number not in over}


_KINDS: dict[type[msgspec.Struct], tuple[Type, ...]] = {
    RunBegan: (Type.BEGIN,),
    RunEnded: (Type.COMMIT,),
    RunAbandoned: (Type.ABORT,),
    JobBegan: (Type.BEGIN,),
    JobRetried: (Type.DATA,),
    JobStaged: (Type.DATA,),
    JobEnded: (Type.COMMIT, Type.ABORT),
    JobLost: (Type.ABORT,),
    GcBegan: (Type.BEGIN,),
    GcMarked: (Type.DATA,),
    GcEnded: (Type.COMMIT,),
    PrewarmBegan: (Type.BEGIN,),
    BundleBegan: (Type.BEGIN,),
    BundleTimed: (Type.DATA,),
    BundleEnded: (Type.COMMIT, Type.ABORT),
    PrewarmEnded: (Type.COMMIT,),
}

_DECODER: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)
_SNAPSHOT: msgspec.msgpack.Decoder[RunState] = msgspec.msgpack.Decoder(RunState)


def frame_type(record: Record) -> Type:
    """The type of frame that ``record`` is written in."""
    if isinstance(record, JobEnded):
        return Type.COMMIT if record.report.bundle else Type.ABORT
    if isinstance(record, BundleEnded):
        return Type.COMMIT if record.kept else Type.ABORT
    return _KINDS[type(record)][0]


def replay(state: RunState, frame: Frame) -> RunState:
    """``state`` after one frame of the journal. Raises ``ImpossibleRecord``."""
    try:
        if frame.flags & Flag.SNAPSHOT:
            return _SNAPSHOT.decode(frame.payload)
        record = _DECODER.decode(frame.payload)
    except msgspec.MsgspecError as error:
        raise ImpossibleRecord(f"it does not decode: {error}") from error
    if frame.type not in _KINDS[type(record)]:
        raise ImpossibleRecord(f"a {type(record).__name__} in a frame of type {Type(frame.type).name}")
    return apply(state, frame.txn, record)


def apply(state: RunState, txn: bytes, record: Record) -> RunState:
    """``state`` after one record; it is changed in place. Raises ``ImpossibleRecord``."""
    if isinstance(record, GcBegan | GcMarked | GcEnded):
        return _collection(state, record)
    if isinstance(record, PrewarmRecord) or (isinstance(record, RunAbandoned) and state.prewarming):
        return _prewarm(state, txn.hex(), record)
    if isinstance(record, RunBegan):
        if _began(state):
            raise ImpossibleRecord("a second beginning of the run")
        state.plan = record.plan
        return state
    if state.plan is None:
        raise ImpossibleRecord("a record before the beginning of the run")
    if state.ending is not None:
        raise ImpossibleRecord("a record after the end of the run")
    if isinstance(record, RunEnded | RunAbandoned):
        state.ending = record
        return state
    return _job(state, state.plan, txn.hex(), record)


def _began(state: RunState) -> bool:
    return state.plan is not None or state.collection is not None or state.prewarming is not None


def _prewarm(state: RunState, txn: str, record: PrewarmRecord | RunAbandoned) -> RunState:
    if isinstance(record, PrewarmBegan):
        if _began(state):
            raise ImpossibleRecord("a second beginning")
        state.prewarming = Prewarming(record.plan)
        return state
    prewarming = state.prewarming
    if prewarming is None or state.ending is not None:
        raise ImpossibleRecord(f"a {type(record).__name__} outside of a prewarm")
    if isinstance(record, PrewarmEnded | RunAbandoned):
        state.ending = record
        return state
    if isinstance(record, BundleBegan):
        if txn in prewarming.open or record.bundle not in prewarming.plan.bundles:
            raise ImpossibleRecord(f"a beginning of {record.bundle}")
        prewarming.open[txn] = Timing(record.bundle)
        return state
    timing = prewarming.open.get(txn)
    if timing is None:
        raise ImpossibleRecord(f"a {type(record).__name__} of a bundle that is not open")
    if isinstance(record, BundleTimed):
        timing.sample = record.sample
    else:
        prewarming.done[timing.bundle] = record.status
        del prewarming.open[txn]
    return state


def _collection(state: RunState, record: GcBegan | GcMarked | GcEnded) -> RunState:
    if isinstance(record, GcBegan):
        if _began(state):
            raise ImpossibleRecord("a second beginning")
        state.collection = record.plan
        return state
    if state.collection is None or state.ending is not None:
        raise ImpossibleRecord(f"a {type(record).__name__} outside of a collection")
    if isinstance(record, GcEnded):
        state.ending = record
    return state


def _job(
    state: RunState,
    plan: RunPlan,
    txn: str,
    record: JobBegan | JobRetried | JobStaged | JobEnded | JobLost,
) -> RunState:
    if isinstance(record, JobBegan):
        if txn in state.open or not 0 <= record.number < len(plan.jobs):
            raise ImpossibleRecord(f"a beginning of job {record.number}")
        state.open[txn] = OpenJob(record.number)
        return state
    job = state.open.get(txn)
    if job is None:
        raise ImpossibleRecord(f"a {type(record).__name__} of a job that is not open")
    match record:
        case JobStaged():
            job.staged = record
        case JobEnded(report):
            staged = job.staged if report.bundle else None
            state.done[job.number] = Done(report, staged.manifest_sha256 if staged else None)
            del state.open[txn]
        case JobLost():
            state.done.pop(job.number, None)
            del state.open[txn]
        case JobRetried():
            pass
    return state
