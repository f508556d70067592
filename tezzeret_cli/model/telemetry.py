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


class Entry(msgspec.Struct, frozen=True):
    """``id`` is unique, so that a consumer can drop repeats; ``time`` is ISO 8601 in UTC. ``command`` and
    ``counts`` are of a run that ended; ``run`` is its id, ``None`` when it had nothing to do."""

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
