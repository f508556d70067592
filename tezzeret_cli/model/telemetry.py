"""A line of the telemetry spool (schema 1): what an event means, under the names that consumers know."""

from __future__ import annotations

import enum

import msgspec


class Level(enum.StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class MetricPoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """``unit`` is ``ms``, ``bytes``, ``percent``, ``ratio`` or nothing. Counters come as increments of this
    event, not as totals."""

    name: str
    value: float
    unit: str = ""
    attributes: dict[str, str] = {}


class TelemetryEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    description: str
    level: Level = Level.INFO
    attributes: dict[str, str] = {}


class Span(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that took from ``start`` to ``end`` (ISO 8601 in UTC), as part of the span ``parent``."""

    id: str
    name: str
    start: str
    end: str
    parent: str = ""
    attributes: dict[str, str] = {}


class HealthStatus(enum.StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class SystemHealth(msgspec.Struct, frozen=True):
    """How the forge is doing. ``indicators`` are totals of the run so far, as text."""

    status: HealthStatus
    summary: str
    indicators: dict[str, str] = {}


class Entry(msgspec.Struct, frozen=True):
    """``id`` is unique, so that a consumer can drop repeats; ``time`` is ISO 8601 in UTC. ``command`` and
    ``counts`` are of a run that ended; ``run`` is its id, ``None`` when it had nothing to do. ``spans``
    are what ended, and ``health`` comes with the aggregates, at regular times and at the end of a run."""

    schema: int
    id: str
    time: str
    source: str
    host: str
    level: Level
    metrics: tuple[MetricPoint, ...] = ()
    events: tuple[TelemetryEvent, ...] = ()
    command: str | None = None
    run: str | None = None
    counts: dict[str, int] | None = None
    spans: tuple[Span, ...] = ()
    health: SystemHealth | None = None
