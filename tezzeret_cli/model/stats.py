"""What ``stats`` reports (schema 1). Moments are in seconds since 1970, sizes in bytes."""

from __future__ import annotations

import msgspec


class Durations(msgspec.Struct, frozen=True):
    """Percentiles of ``count`` durations; ``sum_ms`` of all. Zeros where there is none."""

    count: int = 0
    sum_ms: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0


class StrategyStats(msgspec.Struct, frozen=True):
    """Jobs of one strategy that were not served from the store. ``histogram`` counts durations below 1 s,
    2 s, 4 s and so on, the last one without end. ``prewarm`` is of the steady steps of the proofs."""

    strategy: str
    started: int
    compiled: int
    fallback: int
    failed: int
    retried: int
    lost: int
    durations: Durations
    histogram: tuple[int, ...]
    prewarm: Durations


class FallbackStats(msgspec.Struct, frozen=True):
    """Jobs that ended as fallback or failed for the same kind of reason; ``message`` is the newest one's."""

    kind: str
    status: str
    count: int
    blueprints: tuple[str, ...]
    message: str


class SlowBlueprint(msgspec.Struct, frozen=True):
    """A blueprint by its slowest job in the period."""

    blueprint_id: str
    name: str
    strategy: str
    status: str
    duration_ms: float
    jobs: int


class RunStats(msgspec.Struct, frozen=True):
    """Runs on this host, by how they stand; ``collections`` are of garbage;
    ``prewarms`` have no jobs."""

    live: int = 0
    dead: int = 0
    ended: int = 0
    abandoned: int = 0
    collections: int = 0
    prewarms: int = 0
    damaged: int = 0


class CacheStats(msgspec.Struct, frozen=True):
    """Jobs whose bundle was there already, of all jobs of the runs that ended. ``hit_rate`` is ``None`` when
    there were none."""

    hits: int = 0
    misses: int = 0
    hit_rate: float | None = None


class JournalStats(msgspec.Struct, frozen=True):
    """The journals on this host, all of them. A transaction is a run, a job's attempt or a collection."""

    journals: int = 0
    bytes: int = 0
    records: int = 0
    committed: int = 0
    aborted: int = 0
    open: int = 0
    problems: tuple[str, ...] = ()


class SizeStats(msgspec.Struct, frozen=True):
    bundles: int = 0
    bundle_bytes: int = 0
    blueprints: int = 0
    quarantine_bytes: int = 0
    staging_bytes: int = 0
    telemetry_bytes: int = 0
    cache_bytes: int = 0


class GcStats(msgspec.Struct, frozen=True):
    """``waiting`` and ``waiting_bytes`` are what ``gc`` would remove without a rule for bundles;
    ``unused_bytes`` are those of bundles unused for more than so many days. ``last`` is when one ended,
    ``freed_bytes`` in the period."""

    waiting: int = 0
    waiting_bytes: int = 0
    unused_bytes: dict[str, int] = {}
    last: float | None = None
    freed_bytes: int = 0


class Bucket(msgspec.Struct, frozen=True):
    """A part of the period, from ``start`` on, with the jobs that ended in it."""

    start: float
    compiled: int = 0
    fallback: int = 0
    failed: int = 0


class BreakerStats(msgspec.Struct, frozen=True):
    """A circuit breaker: ``state`` is ``closed``, ``half_open`` or ``open``; ``opened`` counts how often it
    opened in the period."""

    breaker: str
    state: str
    opened: int


class Stats(msgspec.Struct, frozen=True):
    """``since`` is ``None`` for the whole history. ``conservative_mode`` is the reason while it is on;
    it and ``breakers`` are what the journals say of them."""

    store: str
    now: float
    since: float | None
    runs: RunStats
    jobs: dict[str, int]
    strategies: tuple[StrategyStats, ...]
    cache: CacheStats
    fallbacks: tuple[FallbackStats, ...]
    slowest: tuple[SlowBlueprint, ...]
    timeline: tuple[Bucket, ...]
    sizes: SizeStats
    journal: JournalStats
    gc: GcStats
    breakers: tuple[BreakerStats, ...] = ()
    conservative_mode: str | None = None
    schema: int = 1
    command: str = "stats"
