"""Statistics over the history of a store, from its journals and folders. Reads only, while others write."""

from __future__ import annotations

import bisect
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tezzeret_cli.errors import JournalError
from tezzeret_cli.health.history import breaker_history
from tezzeret_cli.model.collect import Rules
from tezzeret_cli.model.health import BreakerRule
from tezzeret_cli.model.report import Status
from tezzeret_cli.model.stats import (
    BreakerStats,
    Bucket,
    CacheStats,
    Durations,
    FallbackStats,
    GcStats,
    JournalStats,
    RunStats,
    SizeStats,
    SlowBlueprint,
    Stats,
    StrategyStats,
)
from tezzeret_cli.ops.gc_mark import mark
from tezzeret_cli.ops.gc_policy import Bundle
from tezzeret_cli.ops.history import Ended, History, RunHistory
from tezzeret_cli.quantiles import quantile
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.store.layout import TMP, explained
from tezzeret_cli.store.quarantine import QUARANTINE
from tezzeret_cli.store.usage import tree_bytes
from tezzeret_cli.telemetry.spool import FOLDER, idle_runs

BUCKETS = 48
SLOWEST = 10
EDGES_MS = tuple(1000.0 * 2**power for power in range(11))
"""Upper ends of the histogram: 1 s to 1024 s."""

IDLE_DAYS = (7, 30, 90)
_DAY = 86400.0
_FAILURES = (Status.FALLBACK, Status.FAILED)


def gather(
    root: Path,
    runs: Runs,
    history: History,
    cache: Path,
    since: float | None,
    now: float,
    rules: Sequence[BreakerRule] = (),
) -> Stats:
    """Statistics of the store at ``root`` from ``since`` (seconds since 1970, ``None``: all) until ``now``.
    Breakers are told for ``rules``.

    Raises ``StoreError`` and ``JournalError`` when store or journals cannot be read at all.
    """
    every = list(history)
    start = since if since is not None else -math.inf
    jobs = [job for run in every for job in run.jobs if job.when >= start]
    made = [job for job in jobs if job.status != Status.CACHED]
    with explained(root):
        marked = mark(root, runs, cache, Rules(), now)
        sizes = _sizes(root, cache, marked.bundles)
        idle = list(idle_runs(root, since))
    cached = _cache([*idle, *(run.counts for run in every if run.counts is not None and run.when >= start)])
    collected = [run for run in every if run.collection and run.when]
    health = breaker_history(runs.root, rules, start, now)
    return Stats(
        store=str(root),
        now=now,
        since=since,
        runs=_runs(every, runs, start),
        jobs={status.value: count for status, count in _statuses(jobs, cached).items()},
        strategies=_strategies(every, made, start),
        cache=cached,
        fallbacks=_fallbacks(made),
        slowest=_slowest(made),
        timeline=_timeline(made, since, now),
        sizes=sizes,
        journal=_journal(every, health.problem),
        gc=GcStats(
            waiting=len(marked.items),
            waiting_bytes=sum(item.bytes for item in marked.items),
            unused_bytes={
                f"{days}d": sum(b.bytes for b in marked.bundles if now - b.used > days * _DAY)
                for days in IDLE_DAYS
            },
            last=max((run.when for run in collected), default=None),
            freed_bytes=sum(run.freed_bytes for run in collected if run.when >= start),
        ),
        breakers=tuple(
            BreakerStats(name, phase.value, health.opened.get(name, 0))
            for name, phase in health.phases.items()
        ),
        conservative_mode="; ".join(health.conservative) or None,
    )


def durations(values: Iterable[float]) -> Durations:
    """Percentiles by nearest rank."""
    ordered = sorted(values)
    if not ordered:
        return Durations()

    def rank(share: float) -> float:
        return round(quantile(ordered, share), 6)

    total = round(math.fsum(ordered), 6)
    return Durations(len(ordered), total, rank(0.5), rank(0.95), rank(0.99), ordered[-1])


def _runs(every: Sequence[RunHistory], runs: Runs, start: float) -> RunStats:
    try:
        live = set(runs.live())
    except JournalError:
        live = set()
    open_runs = [run for run in every if not run.done and not run.when and not run.collection]
    ended = [run for run in every if run.when >= start and run.when]
    return RunStats(
        live=sum(run.run in live for run in open_runs),
        dead=sum(run.run not in live for run in open_runs if run.problem is None),
        ended=sum(not (run.abandoned or run.collection or run.prewarm) for run in ended),
        abandoned=sum(run.abandoned for run in ended),
        collections=sum(run.collection for run in ended),
        prewarms=sum(run.prewarm and not run.abandoned for run in ended),
        damaged=sum(run.problem is not None for run in every),
    )


def _statuses(jobs: Sequence[Ended], cached: CacheStats) -> Counter[Status]:
    """Jobs by how they ended; those that were there already are known from the reports of the runs."""
    shown: list[Status] = [status for status in Status if status != Status.SKIPPED]
    counts: Counter[Status] = Counter(dict.fromkeys(shown, 0))
    counts.update(Status(job.status) for job in jobs if job.status != Status.CACHED)
    counts[Status.CACHED] = cached.hits
    return counts


def _cache(reports: Sequence[Mapping[str, int]]) -> CacheStats:
    hits = sum(counts.get(Status.CACHED, 0) for counts in reports)
    total = sum(count for counts in reports for name, count in counts.items() if name != Status.SKIPPED)
    return CacheStats(hits, total - hits, round(hits / total, 6) if total else None)


def _strategies(
    every: Sequence[RunHistory], made: Sequence[Ended], start: float
) -> tuple[StrategyStats, ...]:
    by_name: dict[str, list[Ended]] = defaultdict(list)
    for job in made:
        by_name[job.strategy].append(job)
    started, retried, lost = (
        Counter(
            run.strategies[number]
            for run in every
            for when, number in getattr(run, what)
            if when >= start and 0 <= number < len(run.strategies)
        )
        for what in ("started", "retried", "lost")
    )
    found = []
    for name in sorted({*by_name, *started}):
        jobs = by_name[name]
        statuses = Counter(job.status for job in jobs)
        histogram = [0] * (len(EDGES_MS) + 1)
        for job in jobs:
            histogram[bisect.bisect_right(EDGES_MS, job.duration_ms)] += 1
        found.append(
            StrategyStats(
                strategy=name,
                started=started[name],
                compiled=statuses[Status.COMPILED],
                fallback=statuses[Status.FALLBACK],
                failed=statuses[Status.FAILED],
                retried=retried[name],
                lost=lost[name],
                durations=durations(job.duration_ms for job in jobs),
                histogram=tuple(histogram),
                prewarm=durations(job.prewarm_p50_ms for job in jobs if job.prewarm_p50_ms is not None),
            )
        )
    return tuple(found)


def _fallbacks(made: Sequence[Ended]) -> tuple[FallbackStats, ...]:
    groups: dict[tuple[str, str], list[Ended]] = defaultdict(list)
    for job in made:
        if job.status in _FAILURES:
            groups[job.status, job.reason_kind or "unknown"].append(job)
    found = [
        FallbackStats(
            kind=kind,
            status=status,
            count=len(jobs),
            blueprints=tuple(sorted({job.blueprint_id for job in jobs})),
            message=max(jobs, key=lambda job: job.when).reason or "",
        )
        for (status, kind), jobs in groups.items()
    ]
    return tuple(sorted(found, key=lambda item: (-item.count, item.status, item.kind)))


def _slowest(made: Sequence[Ended]) -> tuple[SlowBlueprint, ...]:
    worst: dict[str, Ended] = {}
    counts = Counter(job.blueprint_id for job in made)
    for job in made:
        known = worst.get(job.blueprint_id)
        if known is None or known.duration_ms < job.duration_ms:
            worst[job.blueprint_id] = job
    ordered = sorted(worst.values(), key=lambda job: (-job.duration_ms, job.blueprint_id))[:SLOWEST]
    return tuple(
        SlowBlueprint(j.blueprint_id, j.name, j.strategy, j.status, j.duration_ms, counts[j.blueprint_id])
        for j in ordered
    )


def _timeline(made: Sequence[Ended], since: float | None, now: float) -> tuple[Bucket, ...]:
    if not made:
        return ()
    start = since if since is not None else min(job.when for job in made)
    width = max((now - start) / BUCKETS, 1e-3)
    counts: list[Counter[str]] = [Counter() for _ in range(BUCKETS)]
    for job in made:
        counts[min(BUCKETS - 1, max(0, int((job.when - start) / width)))][job.status] += 1
    return tuple(
        Bucket(start + n * width, c[Status.COMPILED], c[Status.FALLBACK], c[Status.FAILED])
        for n, c in enumerate(counts)
    )


def _sizes(root: Path, cache: Path, bundles: Sequence[Bundle]) -> SizeStats:
    return SizeStats(
        bundles=len(bundles),
        bundle_bytes=sum(bundle.bytes for bundle in bundles),
        blueprints=len({bundle.blueprint_id for bundle in bundles}),
        quarantine_bytes=tree_bytes(str(root / QUARANTINE)),
        staging_bytes=tree_bytes(str(root / TMP)),
        telemetry_bytes=tree_bytes(str(root / FOLDER)),
        cache_bytes=tree_bytes(str(cache)),
    )


def _journal(every: Sequence[RunHistory], problem: str | None) -> JournalStats:
    return JournalStats(
        journals=len(every),
        bytes=sum(run.bytes for run in every),
        records=sum(run.records for run in every),
        committed=sum(run.committed for run in every),
        aborted=sum(run.aborted for run in every),
        open=sum(run.open for run in every),
        problems=(
            *(f"run {run.run}: {run.problem}" for run in every if run.problem),
            *([f"breakers: {problem}"] if problem else ()),
        ),
    )
