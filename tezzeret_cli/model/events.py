"""What happens during a run, as data for the observers (progress, telemetry)."""

from __future__ import annotations

from typing import Protocol

import msgspec

from tezzeret_cli.model.report import JobReport, Report
from tezzeret_cli.model.verification import BundleCheck


class RunStarted(msgspec.Struct, frozen=True, tag=True):
    """``total`` jobs are planned; ``cached`` of them are already done; ``workers`` run at once."""

    command: str
    total: int
    cached: int
    workers: int


class JobStarted(msgspec.Struct, frozen=True, tag=True):
    job: int
    blueprint_id: str
    name: str
    strategy: str


class JobStage(msgspec.Struct, frozen=True, tag=True):
    """Job number ``job`` entered a stage (``import``, ``capture``, ``compile forward``, ``prove`` …)."""

    job: int
    stage: str


class JobRetried(msgspec.Struct, frozen=True, tag=True):
    """What was tried came to nothing, and the job goes on with the next strategy or as a fallback.
    ``strategy`` is the one that the job began with."""

    job: int
    blueprint_id: str
    strategy: str
    reason: str


class JobFinished(msgspec.Struct, frozen=True, tag=True):
    job: int
    report: JobReport


class ModeEntered(msgspec.Struct, frozen=True, tag=True):
    """Conservative mode was entered, or goes on for other ``reasons``; with none it was left."""

    reasons: tuple[str, ...]


class BreakerMoved(msgspec.Struct, frozen=True, tag=True):
    """A breaker is in another ``phase`` now, ``here`` by how a job of this run ended."""

    breaker: str
    phase: str
    here: bool = False


class Heartbeat(msgspec.Struct, frozen=True, tag=True):
    """The run goes on; told every few seconds. ``breakers`` are the phases of all, ``conservative`` are the
    reasons for that mode."""

    breakers: dict[str, str]
    conservative: tuple[str, ...]


class Notice(msgspec.Struct, frozen=True, tag=True):
    """One line for the person; ``level`` is ``info``, ``warning`` or ``debug``."""

    level: str
    message: str


class RunFinished(msgspec.Struct, frozen=True, tag=True):
    report: Report


class BundlePrewarmed(msgspec.Struct, frozen=True, tag=True):
    """A published bundle was timed; ``p50_ms`` and ``p95_ms`` are of a steady step of its slowest variant.
    ``store`` is empty for a bundle that is in none."""

    store: str
    blueprint_id: str
    version: str
    strategy: str
    p50_ms: float
    p95_ms: float


class VerificationFailed(msgspec.Struct, frozen=True, tag=True):
    """These bundles of a store are not to be opened."""

    store: str
    checks: tuple[BundleCheck, ...]


class GarbageCollected(msgspec.Struct, frozen=True, tag=True):
    """A collection ended. ``counts`` are of what went, by kind."""

    counts: dict[str, int]
    freed_bytes: int


Event = (
    RunStarted
    | JobStarted
    | JobStage
    | JobRetried
    | JobFinished
    | ModeEntered
    | BreakerMoved
    | Heartbeat
    | Notice
    | RunFinished
    | BundlePrewarmed
    | VerificationFailed
    | GarbageCollected
)


class Observer(Protocol):
    """A sink of events. It never raises into the run."""

    def on_event(self, event: Event) -> None: ...


class NullObserver:
    """Drops every event."""

    def on_event(self, event: Event) -> None:
        return None
