"""Events of a run → metrics and telemetry events. Pure; every name that consumers know stands here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tezzeret_cli.model.events import (
    BreakerMoved,
    BundlePrewarmed,
    Event,
    GarbageCollected,
    JobFinished,
    JobRetried,
    JobStarted,
    ModeEntered,
    RunFinished,
    VerificationFailed,
)
from tezzeret_cli.model.health import Phase
from tezzeret_cli.model.report import JobReport, Report, Status
from tezzeret_cli.model.telemetry import Level, MetricPoint, TelemetryEvent
from tezzeret_cli.model.verification import BundleCheck

PREFIX = "tezzeret."
_COUNTED = {Status.COMPILED: "completed", Status.FALLBACK: "fallback", Status.FAILED: "failed"}
_LEVELS = {Status.COMPILED: Level.INFO, Status.FALLBACK: Level.WARNING, Status.FAILED: Level.ERROR}
PHASES = {"closed": 0, "half_open": 1, "open": 2}
_RANK = tuple(Level)


class Meaning(msgspec.Struct, frozen=True):
    """What an event means to consumers; nothing where both are empty."""

    metrics: tuple[MetricPoint, ...] = ()
    events: tuple[TelemetryEvent, ...] = ()

    @property
    def level(self) -> Level:
        """The highest level of its events."""
        return max((event.level for event in self.events), key=_RANK.index, default=Level.INFO)


def meaning(event: Event, resources: Sequence[MetricPoint] = ()) -> Meaning:
    """What ``event`` means. ``resources`` are samples to go with the end of a job."""
    match event:
        case JobStarted(_, blueprint_id, name, strategy):
            about = {"strategy": strategy, "blueprint_id": blueprint_id, "name": name}
            return Meaning(
                (_metric("jobs.started", 1, strategy=strategy),),
                (TelemetryEvent(f"{PREFIX}compile_started", Level.INFO, about),),
            )
        case JobRetried(_, _, strategy, _):
            return Meaning((_metric("jobs.retried", 1, strategy=strategy),))
        case JobFinished(_, report) if report.status in _COUNTED:
            return _job(report, resources)
        case RunFinished(report):
            return Meaning(_run(report))
        case BundlePrewarmed(_, blueprint_id, version, strategy, p50_ms, p95_ms):
            return _prewarmed(blueprint_id, version, strategy, p50_ms, p95_ms)
        case ModeEntered(reasons):
            return _mode(reasons)
        case BreakerMoved(breaker, phase, here):
            return _moved(breaker, phase, here)
        case VerificationFailed(_, checks):
            return Meaning((), tuple(map(_refused, checks)))
        case GarbageCollected(counts, freed_bytes):
            about = {name: str(count) for name, count in counts.items()} | {"freed_bytes": str(freed_bytes)}
            return Meaning((), (TelemetryEvent(f"{PREFIX}gc_completed", Level.INFO, about),))
        case _:
            return Meaning()


def _job(report: JobReport, resources: Sequence[MetricPoint]) -> Meaning:
    status, strategy, blueprint_id = report.status, report.strategy, report.blueprint_id
    about = {"strategy": strategy, "blueprint_id": blueprint_id, "status": status.value}
    name = "compile_succeeded" if status is Status.COMPILED else "compile_failed"
    if report.reason:
        about |= {"reason": report.reason, "reason_kind": report.reason_kind or ""}
    if report.bundle:
        about["bundle"] = report.bundle
    duration = _metric(
        "compilation.duration_ms",
        report.duration_ms,
        "ms",
        strategy=strategy,
        blueprint_id=blueprint_id,
        status=status.value,
    )
    made = Meaning(
        (duration, _metric(f"jobs.{_COUNTED[status]}", 1, strategy=strategy), *resources),
        (TelemetryEvent(PREFIX + name, _LEVELS[status], about),),
    )
    if report.prewarm_p50_ms is None or report.prewarm_p95_ms is None:
        return made
    timed = _prewarmed(
        blueprint_id, report.version or "", strategy, report.prewarm_p50_ms, report.prewarm_p95_ms
    )
    return Meaning(made.metrics + timed.metrics, made.events + timed.events)


def _mode(reasons: Sequence[str]) -> Meaning:
    """The conservative mode, on for ``reasons``; off without any."""
    about = {"reason": "; ".join(reasons)}
    name = "enabled" if reasons else "disabled"
    level = Level.WARNING if reasons else Level.INFO
    return Meaning(
        (_metric("conservative_mode_active", bool(reasons), **about),),
        (TelemetryEvent(f"{PREFIX}conservative_mode_{name}", level, about),),
    )


def _moved(breaker: str, phase: str, here: bool) -> Meaning:
    """A breaker that another run moved has its state alone: that run tells of the event."""
    about = {"breaker": breaker}
    metrics = [_metric("breaker.state", PHASES[phase], **about)]
    events = []
    if here and phase == Phase.OPEN:
        metrics.append(_metric("breaker.open_total", 1, **about))
        events.append(TelemetryEvent(f"{PREFIX}breaker_open", Level.WARNING, about))
    elif here and phase == Phase.CLOSED:
        events.append(TelemetryEvent(f"{PREFIX}breaker_closed", Level.INFO, about))
    return Meaning(tuple(metrics), tuple(events))


def _refused(check: BundleCheck) -> TelemetryEvent:
    about = {
        "bundle": check.bundle,
        "blueprint_id": check.blueprint_id or "",
        "version": check.version or "",
        "reason": check.problem or "",
        "reason_kind": check.problem_kind or "",
    }
    return TelemetryEvent(f"{PREFIX}verify_failed", Level.ERROR, about)


def aggregates(
    hit_rate: float | None, breakers: Mapping[str, str], conservative: Sequence[str]
) -> tuple[MetricPoint, ...]:
    """What is so at this moment. Counters are not among it: they come as increments, with their events."""
    points = [] if hit_rate is None else [_metric("cache.hit_rate", hit_rate, "ratio")]
    points += [_metric("breaker.state", PHASES[phase], breaker=name) for name, phase in breakers.items()]
    points.append(_metric("conservative_mode_active", bool(conservative), reason="; ".join(conservative)))
    return tuple(points)


def _run(report: Report) -> tuple[MetricPoint, ...]:
    counts = report.counts
    done = sum(count for status, count in counts.items() if status != Status.SKIPPED)
    found = []
    if done:
        found.append(_metric("cache.hit_rate", counts.get(Status.CACHED, 0) / done, "ratio"))
    if report.run is not None:
        committed = sum(job.bundle is not None and job.status != Status.CACHED for job in report.jobs)
        aborted = counts.get(Status.FAILED, 0)
        ended = int(not report.interrupted)
        found.append(_metric("wal.transactions_total", committed + ended, status="committed"))
        found.append(_metric("wal.transactions_total", aborted, status="aborted"))
    for name, phase in report.breakers.items():
        if phase in PHASES:
            found.append(_metric("breaker.state", PHASES[phase], breaker=name))
    return tuple(found)


def _prewarmed(blueprint_id: str, version: str, strategy: str, p50_ms: float, p95_ms: float) -> Meaning:
    about = {"strategy": strategy, "blueprint_id": blueprint_id}
    return Meaning(
        (_metric("prewarm.p50_ms", p50_ms, "ms", **about), _metric("prewarm.p95_ms", p95_ms, "ms", **about)),
        (TelemetryEvent(f"{PREFIX}prewarm_completed", Level.INFO, about | {"version": version}),),
    )


def _metric(name: str, value: float, unit: str = "", **attributes: str) -> MetricPoint:
    return MetricPoint(PREFIX + name, float(value), unit, attributes)
