"""The records of a run's journal, schema 1. ``docs/format/wal.md`` says how they are framed.

A run is one transaction: ``RunBegan``, then ``RunEnded`` or ``RunAbandoned``. Each job of it is another
one: ``JobBegan``; ``JobRetried`` and ``JobStaged`` as it goes; at the end ``JobEnded``, which commits when
there is a bundle and aborts when there is none, or ``JobLost``, which aborts and leaves the job to do.

A prewarm has a journal of its own: ``PrewarmBegan``, then ``PrewarmEnded``, or ``RunAbandoned`` where it
died. Each bundle is a transaction: ``BundleBegan``; ``BundleTimed`` before its sample goes into the store;
``BundleEnded``, which commits when the sample is there and aborts when there is none.

A garbage collection is one transaction in a journal of its own: ``GcBegan``, ``GcMarked`` before each batch
goes, ``GcEnded``. There is nothing to resume: what it marked went as a whole or stayed as a whole.
"""

from __future__ import annotations

import msgspec

from tezzeret_cli.model.collect import GcPlan, Item
from tezzeret_cli.model.manifest import Reason
from tezzeret_cli.model.prewarm import PrewarmPlan, Sample
from tezzeret_cli.model.report import JobReport
from tezzeret_cli.model.run import RunPlan

SCHEMA = 1


class RunBegan(msgspec.Struct, frozen=True, tag="run_began"):
    plan: RunPlan


class RunEnded(msgspec.Struct, frozen=True, tag="run_ended"):
    """Every job ended. ``counts`` are the report's."""

    counts: dict[str, int]


class RunAbandoned(msgspec.Struct, frozen=True, tag="run_abandoned"):
    """Nobody will finish the run; what it published stays."""

    reason: str


class JobBegan(msgspec.Struct, frozen=True, tag="job_began"):
    """Job ``number`` of the plan, whose key is ``key``, is being done."""

    number: int
    key: str


class JobRetried(msgspec.Struct, frozen=True, tag="job_retried"):
    """The job goes on with another ``strategy`` because of ``reason``, or as an eager fallback where there
    is none."""

    reason: Reason
    strategy: str | None = None


class JobStaged(msgspec.Struct, frozen=True, tag="job_staged"):
    """A durable bundle is in ``folder`` and is about to be renamed to ``bundle``, both relative to the
    store; ``report`` is how the job ends if that happens. The last such record of a job counts."""

    folder: str
    bundle: str
    manifest_sha256: str
    report: JobReport


class JobEnded(msgspec.Struct, frozen=True, tag="job_ended"):
    report: JobReport


class JobLost(msgspec.Struct, frozen=True, tag="job_lost"):
    """The attempt came to nothing (interrupted, its process died, its bundle turned out damaged); the job
    is still to be done, even if it had ended before."""

    reason: str


class GcBegan(msgspec.Struct, frozen=True, tag="gc_began"):
    plan: GcPlan


class GcMarked(msgspec.Struct, frozen=True, tag="gc_marked"):
    """These are about to go, each only if it is still unused then."""

    items: tuple[Item, ...]


class GcEnded(msgspec.Struct, frozen=True, tag="gc_ended"):
    """Everything that was marked was looked at. ``counts`` are of what went, by kind."""

    counts: dict[str, int]
    freed_bytes: int


class PrewarmBegan(msgspec.Struct, frozen=True, tag="prewarm_began"):
    plan: PrewarmPlan


class BundleBegan(msgspec.Struct, frozen=True, tag="bundle_began"):
    """``bundle``, one of the plan's, is being timed."""

    bundle: str


class BundleTimed(msgspec.Struct, frozen=True, tag="bundle_timed"):
    """This is about to be kept in the store."""

    sample: Sample


class BundleEnded(msgspec.Struct, frozen=True, tag="bundle_ended"):
    """``status`` is the report's; ``kept`` says that the sample is in the store, and commits."""

    status: str
    kept: bool


class PrewarmEnded(msgspec.Struct, frozen=True, tag="prewarm_ended"):
    """Every bundle ended, or it was interrupted. ``counts`` are of this store's bundles, by status."""

    counts: dict[str, int]


RunRecord = RunBegan | RunEnded | RunAbandoned | JobBegan | JobRetried | JobStaged | JobEnded | JobLost
GcRecord = GcBegan | GcMarked | GcEnded
PrewarmRecord = PrewarmBegan | BundleBegan | BundleTimed | BundleEnded | PrewarmEnded
Record = RunRecord | GcRecord | PrewarmRecord
