"""``stats`` on a terminal: tables with small charts."""

from __future__ import annotations

import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tezzeret_cli.model.stats import Stats
from tezzeret_cli.telemetry.numbers import bar, milliseconds, size, spark
from tezzeret_cli.telemetry.text import clean

_BAR = 24
_STATUS = {"compiled": "green", "fallback": "yellow", "failed": "red"}
_STATE = {"closed": "green", "half_open": "yellow", "open": "red"}


def view(stats: Stats) -> RenderableType:
    """Everything in ``stats``. What comes from outside is plain text, never markup."""
    parts: list[RenderableType] = [_head(stats)]
    for part in (_timeline(stats), _strategies(stats), _reasons(stats), _slowest(stats), _breakers(stats)):
        if part is not None:
            parts += [Text(""), part]
    return Group(*parts, Text(""), _below(stats))


def _head(stats: Stats) -> RenderableType:
    period = "all that is on record" if stats.since is None else f"since {_moment(stats.since)}"
    jobs = ", ".join(f"{count} {status}" for status, count in stats.jobs.items())
    hit_rate = stats.cache.hit_rate
    rate = (
        "no jobs" if hit_rate is None else f"{hit_rate:.1%} of {stats.cache.hits + stats.cache.misses} jobs"
    )
    runs = stats.runs
    words = f"{runs.ended} ended, {runs.abandoned} abandoned, {runs.live} live, {runs.dead} dead"
    table = _grid()
    table.add_row("store", f"{clean(stats.store)} ({period})")
    table.add_row("jobs", jobs)
    table.add_row("hit rate", rate)
    table.add_row("runs", words)
    return table


def _timeline(stats: Stats) -> RenderableType | None:
    if not stats.timeline:
        return None
    table = _grid()
    for name in ("compiled", "fallback", "failed"):
        values = [getattr(bucket, name) for bucket in stats.timeline]
        if any(values):
            table.add_row(name, Text(f"{spark(values)} {sum(values)}", style=_STATUS[name]))
    table.add_row("", f"{_moment(stats.timeline[0].start)} to {_moment(stats.now)}")
    return table


def _strategies(stats: Stats) -> RenderableType | None:
    if not stats.strategies:
        return None
    names = (
        "strategy",
        "jobs",
        "fell back",
        "failed",
        "retried",
        "p50",
        "p95",
        "p99",
        "1 s to 1024 s",
        "step p50",
    )
    table = _table(*names)
    for item in stats.strategies:
        d = item.durations
        times = [milliseconds(value) if d.count else "" for value in (d.p50_ms, d.p95_ms, d.p99_ms)]
        step = milliseconds(item.prewarm.p50_ms) if item.prewarm.count else ""
        counts = (d.count, item.fallback, item.failed, item.retried)
        table.add_row(clean(item.strategy), *map(str, counts), *times, spark(item.histogram), step)
    return table


def _reasons(stats: Stats) -> RenderableType | None:
    if not stats.fallbacks:
        return None
    table = _table("why", "ended as", "jobs", "", "blueprints", "last message")
    top = max(item.count for item in stats.fallbacks)
    for item in stats.fallbacks:
        some = " ".join(map(clean, item.blueprints[:4])) + (" …" if len(item.blueprints) > 4 else "")
        table.add_row(
            clean(item.kind),
            Text(item.status, style=_STATUS.get(item.status, "")),
            str(item.count),
            bar(item.count, top, _BAR // 2),
            some,
            Text(clean(item.message), no_wrap=True, overflow="ellipsis"),
        )
    return table


def _slowest(stats: Stats) -> RenderableType | None:
    if not stats.slowest:
        return None
    table = _table("slowest", "name", "strategy", "took", "")
    top = stats.slowest[0].duration_ms
    for item in stats.slowest:
        table.add_row(
            clean(item.blueprint_id),
            clean(item.name),
            clean(item.strategy),
            milliseconds(item.duration_ms),
            Text(bar(item.duration_ms, top, _BAR), style=_STATUS.get(item.status, "")),
        )
    return table


def _breakers(stats: Stats) -> RenderableType | None:
    if not stats.breakers and stats.conservative_mode is None:
        return None
    table = _table("breaker", "state", "opened")
    for item in stats.breakers:
        table.add_row(
            clean(item.breaker), Text(clean(item.state), style=_STATE.get(item.state, "")), str(item.opened)
        )
    if stats.conservative_mode is not None:
        table.add_row("conservative mode", Text("on", style="yellow"), clean(stats.conservative_mode))
    return table


def _below(stats: Stats) -> RenderableType:
    sizes, journal, gc = stats.sizes, stats.journal, stats.gc
    table = _grid()
    table.add_row(
        "sizes",
        f"{sizes.bundles} bundles of {sizes.blueprints} blueprints {size(sizes.bundle_bytes)}, "
        f"cache {size(sizes.cache_bytes)}, staging {size(sizes.staging_bytes)}, "
        f"quarantine {size(sizes.quarantine_bytes)}, telemetry {size(sizes.telemetry_bytes)}",
    )
    table.add_row(
        "journal",
        f"{journal.journals} of {size(journal.bytes)}, {journal.records} records, "
        f"{journal.committed} committed, {journal.aborted} aborted, {journal.open} open",
    )
    for problem in journal.problems:
        table.add_row("", Text(clean(problem), style="red"))
    unused = ", ".join(f"{size(count)} for {days}" for days, count in gc.unused_bytes.items())
    table.add_row(
        "gc", f"would free {size(gc.waiting_bytes)} in {gc.waiting} places; bundles unused: {unused}"
    )
    if gc.last is not None:
        table.add_row("", f"last on {_moment(gc.last)}; freed {size(gc.freed_bytes)} in the period")
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    return table


def _table(*headings: str) -> Table:
    return Table(*headings, box=None, pad_edge=False)


def _moment(when: float) -> str:
    return datetime.datetime.fromtimestamp(when).astimezone().strftime("%Y-%m-%d %H:%M")
