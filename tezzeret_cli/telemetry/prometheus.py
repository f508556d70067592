"""Statistics as Prometheus text, for the node exporter's textfile collector.

Names are those of the telemetry with underscores for dots: ``tezzeret.jobs.failed`` is
``tezzeret_jobs_failed``. Counters start again when old journals are removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tezzeret_cli.model.stats import Durations, Stats
from tezzeret_cli.telemetry.metrics import PHASES

Sample = tuple[Mapping[str, str], float]


def prometheus(stats: Stats) -> str:
    """The text format, version 0.0.4."""
    return "".join(f"{line}\n" for line in _lines(stats))


def _lines(stats: Stats) -> Iterator[str]:
    strategies = stats.strategies
    yield from _summary(
        "compilation_duration_ms",
        "Milliseconds that jobs took, by strategy.",
        [(item.strategy, item.durations) for item in strategies],
    )
    yield from _summary(
        "prewarm_ms",
        "Milliseconds of a steady step when bundles were proved, by strategy.",
        [(item.strategy, item.prewarm) for item in strategies],
    )
    for name in ("p50", "p95"):
        yield from _metric(
            f"prewarm_{name}_ms",
            "gauge",
            f"{name} of a steady step in milliseconds.",
            [
                ({"strategy": s.strategy}, getattr(s.prewarm, f"{name}_ms"))
                for s in strategies
                if s.prewarm.count
            ],
        )
    for metric, what in (
        ("started", "started"),
        ("completed", "compiled"),
        ("failed", "failed"),
        ("retried", "retried"),
        ("fallback", "fallback"),
    ):
        yield from _metric(
            f"jobs_{metric}",
            "counter",
            f"Jobs {metric}, by strategy.",
            [({"strategy": s.strategy}, getattr(s, what)) for s in strategies],
        )
    journal = stats.journal
    yield from _metric(
        "wal_transactions_total",
        "counter",
        "Transactions of the journals, by how they ended.",
        [({"status": name}, getattr(journal, name)) for name in ("committed", "aborted", "open")],
    )
    rate = stats.cache.hit_rate
    yield from _metric(
        "cache_hit_rate", "gauge", "Jobs done already, of all.", [({}, rate)] if rate is not None else []
    )
    yield from _metric(
        "breaker_state",
        "gauge",
        "0 closed, 1 half open, 2 open.",
        [({"breaker": b.breaker}, PHASES[b.state]) for b in stats.breakers if b.state in PHASES],
    )
    yield from _metric(
        "breaker_open_total",
        "counter",
        "How often a breaker opened.",
        [({"breaker": b.breaker}, b.opened) for b in stats.breakers],
    )
    mode = stats.conservative_mode
    yield from _metric(
        "conservative_mode_active",
        "gauge",
        "Whether only the safest strategy is used.",
        [({"reason": mode or ""}, float(mode is not None))],
    )
    sizes = stats.sizes
    for name in ("bundle", "cache", "staging", "quarantine", "telemetry"):
        text = f"Bytes of the {name if name != 'bundle' else 'bundles'}."
        yield from _metric(f"{name}_bytes", "gauge", text, [({}, getattr(sizes, f"{name}_bytes"))])
    yield from _metric("bundles", "gauge", "Published bundles.", [({}, sizes.bundles)])
    yield from _metric("journal_bytes", "gauge", "Bytes of the journals.", [({}, journal.bytes)])
    yield from _metric(
        "gc_waiting_bytes", "gauge", "Bytes that gc would free.", [({}, stats.gc.waiting_bytes)]
    )
    yield from _metric(
        "runs",
        "gauge",
        "Runs by how they stand.",
        [({"state": name}, getattr(stats.runs, name)) for name in ("live", "dead", "damaged")],
    )


def _summary(name: str, text: str, items: Sequence[tuple[str, Durations]]) -> Iterator[str]:
    full = f"tezzeret_{name}"
    shown = [(strategy, value) for strategy, value in items if value.count]
    if not shown:
        return
    yield from (f"# HELP {full} {text}", f"# TYPE {full} summary")
    for strategy, value in shown:
        for quantile, found in (("0.5", value.p50_ms), ("0.95", value.p95_ms), ("0.99", value.p99_ms)):
            yield f"{full}{_labels({'strategy': strategy, 'quantile': quantile})} {found:.12g}"
        yield f"{full}_sum{_labels({'strategy': strategy})} {value.sum_ms:.12g}"
        yield f"{full}_count{_labels({'strategy': strategy})} {value.count}"


def _metric(name: str, kind: str, text: str, samples: Sequence[Sample]) -> Iterator[str]:
    if samples:
        full = f"tezzeret_{name}"
        yield from (f"# HELP {full} {text}", f"# TYPE {full} {kind}")
        yield from (f"{full}{_labels(labels)} {value:.12g}" for labels, value in samples)


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
