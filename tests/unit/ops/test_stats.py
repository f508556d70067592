"""Statistics from real journals of simulated runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import jsonschema
import msgspec
import pytest

from tests.support.command import ROOT
from tests.support.forging import Simulator, built, forge, job, plan, proved, script
from tezzeret_cli.health.record import HealthRecords
from tezzeret_cli.model.build import BuildRefused
from tezzeret_cli.model.health import BreakerRule, ModeChanged, Outcome
from tezzeret_cli.model.manifest import Reason
from tezzeret_cli.model.stats import BreakerStats, CacheStats, Durations
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.ops.history import History
from tezzeret_cli.ops.stats import durations, gather
from tezzeret_cli.ops.unfinished import abandon
from tezzeret_cli.telemetry.numbers import bar, milliseconds, spark
from tezzeret_cli.telemetry.prometheus import prometheus
from tezzeret_cli.telemetry.stats_view import view
from tezzeret_cli.wal.journal import Journal
from tezzeret_cli.worker.task import Returned


def mixed(step, request):
    """BP002 falls back, BP003 is refused, what else there is compiles."""
    if step == "prove":
        return proved(), "prove"
    name = request.job.blueprint_id
    if name == "BP003":
        return Returned(msgspec.msgpack.encode(BuildRefused(Reason("refused", "no", True)))), "construct"
    reason = Reason("graph_break", "it\x1b[31m breaks", True) if name == "BP002" else None
    return built(request, reason), "compile"


class Place:
    def __init__(self, store):
        self.store = store
        self.parts = forge(store, Simulator(mixed))

    def compile(self, *names, runner=mixed, **options):
        jobs = [job(name) for name in names]
        return compile_blueprints(plan(self.store, jobs, **options), forge(self.store, Simulator(runner)))

    def stats(self, since=None, history=None, now=None, rules=()):
        runs = self.parts.runs
        cache = self.store.parent / "cache"
        return gather(self.store, runs, history or History(runs), cache, since, now or time.time(), rules)


@pytest.fixture
def place(store):
    return Place(store)


def test_an_empty_store_has_statistics_too(place):
    stats = place.stats()
    assert (stats.strategies, stats.timeline, stats.cache) == ((), (), CacheStats())
    assert stats.jobs == {"compiled": 0, "cached": 0, "fallback": 0, "failed": 0}
    assert "tezzeret_bundles 0\n" in prometheus(stats)


def test_jobs_reasons_and_transactions(place):
    place.compile("BP001", "BP002", "BP003")
    place.compile("BP001", "BP002", "BP004")
    stats = place.stats()
    assert stats.jobs == {"compiled": 2, "cached": 2, "fallback": 1, "failed": 1}
    assert stats.cache == CacheStats(2, 4, 0.333333)
    (standard,) = stats.strategies
    assert (standard.started, standard.compiled, standard.fallback, standard.failed) == (4, 2, 1, 1)
    assert (standard.retried, standard.lost, sum(standard.histogram)) == (1, 0, 4)
    assert standard.prewarm == Durations(2, 2.0, 1.0, 1.0, 1.0, 1.0)
    assert [(f.kind, f.status, f.count, f.blueprints) for f in stats.fallbacks] == [
        ("refused", "failed", 1, ("BP003",)),
        ("graph_break", "fallback", 1, ("BP002",)),
    ]
    assert stats.slowest[0].duration_ms == standard.durations.max_ms
    assert (stats.runs.ended, stats.runs.dead, stats.runs.live) == (2, 0, 0)
    assert (stats.journal.committed, stats.journal.aborted, stats.journal.open) == (5, 1, 0)
    assert sum(bucket.compiled for bucket in stats.timeline) == 2
    assert (stats.sizes.bundles, stats.sizes.blueprints) == (3, 3)


def test_a_period(place):
    place.compile("BP001")
    middle = time.time()
    place.compile("BP002")
    assert place.stats(middle).jobs == {"compiled": 0, "cached": 0, "fallback": 1, "failed": 0}
    assert place.stats(time.time()).strategies == ()


def test_it_is_read_by_its_schema(place):
    place.compile("BP001", "BP002")
    schema = json.loads((ROOT / "docs" / "schema" / "stats.schema.json").read_text())
    jsonschema.validate(json.loads(msgspec.json.encode(place.stats())), schema)


class Dies(Simulator):
    def start(self, task):
        raise KeyboardInterrupt


def test_dead_and_abandoned_runs_are_told_apart(place):
    with pytest.raises(KeyboardInterrupt):
        compile_blueprints(plan(place.store, [job("BP001")]), forge(place.store, Dies(script)))
    stats = place.stats()
    assert (stats.runs.dead, stats.runs.live, stats.journal.open, stats.strategies[0].started) == (1, 0, 2, 1)
    abandon(place.parts.runs, place.parts.runs.unfinished()[0], "enough", place.store)
    stats = place.stats()
    assert (stats.runs.dead, stats.runs.abandoned, stats.runs.ended) == (0, 1, 0)


def test_a_damaged_journal_is_told_and_the_others_count(place):
    report = place.compile("BP001")
    place.compile("BP002")
    (segment,) = (place.parts.runs.root / "done" / report.run).glob("*.wal")
    data = bytearray(segment.read_bytes())
    data[700] ^= 1
    segment.write_bytes(data)
    stats = place.stats()
    assert stats.runs.damaged == 1
    assert report.run in stats.journal.problems[0]
    assert stats.jobs["fallback"] == 1


def test_a_journal_that_was_compacted_keeps_its_jobs(place):
    report = place.compile("BP001", "BP002")
    folder = place.parts.runs.root / "done" / report.run
    before = place.stats()
    from tezzeret_cli.runs.ledger import Replay

    found = Replay()
    with Journal.open(folder, replay=found.add) as journal:
        journal.compact([msgspec.msgpack.encode(found.state)])
    stats = place.stats()
    assert [s.compiled for s in stats.strategies] == [s.compiled for s in before.strategies]
    assert stats.fallbacks == before.fallbacks


def test_a_journal_that_ended_is_read_once(place, monkeypatch):
    place.compile("BP001")
    history = History(place.parts.runs)
    first = place.stats(history=history, now=1.8e9)
    monkeypatch.setattr("tezzeret_cli.ops.history.read", None)
    assert place.stats(history=history, now=1.8e9) == first


def test_it_reads_while_others_write_and_writes_nothing(place):
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.support.forging import *\n"
        "from tezzeret_cli.ops.compile import compile_blueprints\n"
        "store = Path(sys.argv[1])\n"
        "for n in range(15):\n"
        "    jobs = [job(f'BP{n}{i}') for i in range(4)]\n"
        "    compile_blueprints(plan(store, jobs), forge(store, Simulator(script)))\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(place.store)], cwd=ROOT)
    looks = 0
    last = 0
    while writer.poll() is None:
        stats = place.stats()
        assert not stats.journal.problems
        assert stats.jobs["compiled"] >= last
        last = stats.jobs["compiled"]
        looks += 1
    assert writer.returncode == 0
    assert looks > 3
    before = sorted(map(str, place.store.parent.rglob("*")))
    assert place.stats().jobs["compiled"] == 60
    assert sorted(map(str, place.store.parent.rglob("*"))) == before


RULES = (BreakerRule("memory", 2, 60.0), BreakerRule("timeout", 2, 60.0))


def test_breakers_and_the_mode_are_told_from_their_records(place):
    records = HealthRecords(place.parts.runs.root, RULES)
    place.compile("BP001")
    now = time.time()
    records.add([Outcome(now - 500, "memory"), Outcome(now - 499, "memory")])
    records.add(
        [Outcome(now - 9, "timeout"), Outcome(now - 8, "timeout"), ModeChanged(now, ("memory is short",))]
    )
    stats = place.stats(rules=RULES)
    assert stats.breakers == (BreakerStats("memory", "half_open", 1), BreakerStats("timeout", "open", 1))
    assert stats.conservative_mode == "memory is short"
    assert [b.opened for b in place.stats(since=now - 100, rules=RULES).breakers] == [0, 1]
    text = prometheus(stats)
    assert 'tezzeret_breaker_state{breaker="memory"} 1\n' in text
    assert 'tezzeret_breaker_open_total{breaker="timeout"} 1\n' in text
    assert 'tezzeret_conservative_mode_active{reason="memory is short"} 1\n' in text


def test_records_of_breakers_that_are_damaged_are_told(place):
    records = HealthRecords(place.parts.runs.root, RULES)
    place.compile("BP001")
    records.add([Outcome(1.0, "memory"), Outcome(2.0, "memory")])
    (segment,) = records.folder.glob("*.wal")
    data = bytearray(segment.read_bytes())
    data[700] ^= 1
    segment.write_bytes(data)
    stats = place.stats(rules=RULES)
    assert stats.journal.problems[0].startswith("breakers: ")
    assert stats.jobs["compiled"] == 1


def test_a_label_with_quotes_is_escaped(place):
    stats = msgspec.structs.replace(place.stats(), conservative_mode='a "b"\n')
    assert 'tezzeret_conservative_mode_active{reason="a \\"b\\"\\n"} 1\n' in prometheus(stats)


def test_percentiles_are_of_the_nearest_rank():
    assert durations([]) == Durations()
    found = durations(range(1, 101))
    assert (found.p50_ms, found.p95_ms, found.p99_ms, found.max_ms, found.count) == (50, 95, 99, 100, 100)
    assert durations([7.0]) == Durations(1, 7.0, 7.0, 7.0, 7.0, 7.0)


def test_small_charts():
    assert spark([0, 1, 50, 100]) == " ▁▄█"
    assert spark([0, 0]) == "  "
    assert [bar(n, 10, 10) for n in (0, 5, 10)] == ["", "█████", "██████████"]
    assert bar(1, 0, 10) == ""
    assert [milliseconds(n) for n in (0.123, 12, 999, 1500)] == ["0.12 ms", "12 ms", "999 ms", "1.5 s"]


def test_a_hostile_message_stays_text(place):
    from rich.console import Console

    place.compile("BP002")
    console = Console(width=200, no_color=True)
    with console.capture() as capture:
        console.print(view(place.stats()))
    assert "\x1b" not in capture.get()
    assert "it?[31m breaks" in capture.get()
