"""The telemetry of runs: every line by its schema, bounded, and never in a run's way."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import time
from collections import Counter

import jsonschema
import pytest

from tests.support.command import ROOT
from tests.support.forging import Simulator, built, forge, job, plan, proved
from tests.unit.ops.test_stats import mixed
from tezzeret_cli.cli.observers import Fanout
from tezzeret_cli.model.events import (
    BreakerMoved,
    BundlePrewarmed,
    GarbageCollected,
    Heartbeat,
    JobFinished,
    JobStage,
    JobStarted,
    ModeEntered,
    Notice,
    RunFinished,
    RunStarted,
)
from tezzeret_cli.model.health import BreakerRule
from tezzeret_cli.model.report import JobReport, Report, Status
from tezzeret_cli.model.telemetry import Level
from tezzeret_cli.ops import governor as governing
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.ops.history import History
from tezzeret_cli.ops.stats import gather
from tezzeret_cli.store.layout import open_store
from tezzeret_cli.strategies import STRATEGIES
from tezzeret_cli.telemetry import spool as spooling
from tezzeret_cli.telemetry.metrics import meaning
from tezzeret_cli.telemetry.spool import Spool, idle_runs
from tezzeret_cli.telemetry.standing import Standing
from tezzeret_cli.telemetry.traces import Tracer
from tezzeret_cli.worker.task import TimedOut

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((ROOT / "docs" / "schema" / "telemetry.schema.json").read_text())
)
LIMIT = 1 << 20
GC = GarbageCollected({"bundle": 3}, 1000)


@pytest.fixture
def warned():
    return []


@pytest.fixture
def compiled(store, warned):
    """Run a forge with a spool, over these blueprints."""

    def run(*names: str, limit: int = LIMIT, interval_s: float = 10.0, **options):
        spool = Spool(open_store(store).root, limit, warned.append, interval_s)
        jobs = [job(name) for name in names]
        return compile_blueprints(plan(store, jobs, **options), forge(store, Simulator(mixed), spool))

    return run


def lines(store) -> list[dict]:
    found = []
    for path in sorted((store / "telemetry").glob("*.jsonl")):
        found += map(json.loads, path.read_text().splitlines())
    for entry in found:
        SCHEMA.validate(entry)
    return found


def points(entries, name):
    return [p for entry in entries for p in entry["metrics"] if p["name"] == f"tezzeret.{name}"]


def test_a_run_in_names_that_consumers_know(compiled, store):
    report = compiled("BP001", "BP002", "BP003")
    found = lines(store)
    events = [(e["description"], e.get("level", "info")) for entry in found for e in entry["events"]]
    assert sorted(events) == [
        ("tezzeret.compile_failed", "error"),
        ("tezzeret.compile_failed", "warning"),
        *[("tezzeret.compile_started", "info")] * 3,
        ("tezzeret.compile_succeeded", "info"),
        ("tezzeret.prewarm_completed", "info"),
    ]
    durations = points(found, "compilation.duration_ms")
    assert sorted((p["attributes"]["blueprint_id"], p["attributes"]["status"]) for p in durations) == [
        (done.blueprint_id, done.status.value) for done in report.jobs
    ]
    assert {p["attributes"]["strategy"] for p in durations} == {"standard"}
    assert {p["unit"] for p in durations} == {"ms"}
    for name in ("jobs.completed", "jobs.fallback", "jobs.failed"):
        assert [p["value"] for p in points(found, name)] == [1.0]
    assert sum(p["value"] for p in points(found, "jobs.started")) == 3
    assert points(found, "prewarm.p50_ms")[0]["attributes"] == {
        "strategy": "standard",
        "blueprint_id": "BP001",
    }
    assert points(found, "resource.memory_bytes")[0]["value"] > 1 << 20
    last = found[-1]
    assert (last["command"], last["run"], last["counts"]["fallback"]) == ("compile", report.run, 1)
    assert points([last], "cache.hit_rate")[0]["value"] == 0.0
    assert {p["attributes"]["status"]: p["value"] for p in points([last], "wal.transactions_total")} == {
        "committed": 3.0,
        "aborted": 1.0,
    }
    assert len({entry["id"] for entry in found}) == len(found)


def test_a_run_with_nothing_to_do_counts_for_the_hit_rate(compiled, store):
    compiled("BP001")
    compiled("BP001")
    before = time.time()
    assert [counts["cached"] for counts in idle_runs(store, None)] == [1]
    assert list(idle_runs(store, before + 1)) == []
    runs = forge(store, None).runs
    stats = gather(store, runs, History(runs), store.parent / "cache", None, time.time())
    assert (stats.cache.hits, stats.cache.misses, stats.cache.hit_rate) == (1, 1, 0.5)
    assert stats.jobs["cached"] == 1


def test_transactions_are_as_many_as_the_journal_has(compiled, store):
    compiled("BP001", "BP002", "BP003")
    (run,) = History(forge(store, None).runs)
    told = {p["attributes"]["status"]: p["value"] for p in points(lines(store), "wal.transactions_total")}
    assert told == {"committed": run.committed, "aborted": run.aborted}


def test_a_retry_is_counted_as_often_as_the_journal_has_it(store):
    def script(step, request):
        if step == "build" and request.job.strategy.name != "fast":
            return TimedOut(1), "compile forward"
        return (proved() if step == "prove" else built(request)), "compile forward"

    strategies = tuple(STRATEGIES.values())
    jobs = [job("BP001", strategy=STRATEGIES["aggressive"]), job("BP002", strategy=STRATEGIES["standard"])]
    parts = forge(store, Simulator(script), Spool(open_store(store).root, LIMIT, print))
    compile_blueprints(plan(store, jobs, ladder=strategies, workers=1), parts)
    counted = Counter(p["attributes"]["strategy"] for p in points(lines(store), "jobs.retried"))
    assert counted == {"aggressive": 2, "standard": 1}
    (run,) = History(parts.runs)
    assert len(run.retried) == counted.total()
    assert lines(store)[-1]["health"]["indicators"]["retried"] == "3"


def test_what_has_no_name_is_not_kept():
    for event in (JobStage(0, "capture"), Notice("info", "hello")):
        assert meaning(event) == meaning(Notice("debug", ""))
    assert meaning(GC).events[0].attributes == {"bundle": "3", "freed_bytes": "1000"}
    assert meaning(BundlePrewarmed("", "BP001", "1.0.0+a", "fast", 1.0, 2.0)).level is Level.INFO
    report = Report(1, "compile", (), {"skipped": 3})
    assert meaning(RunFinished(report)).metrics == ()


def test_breakers_and_the_conservative_mode():
    report = Report(1, "compile", (), {}, breakers={"memory": "open", "gpu": "closed"})
    states = {p.attributes["breaker"]: p.value for p in meaning(RunFinished(report)).metrics}
    assert states == {"memory": 2.0, "gpu": 0.0}
    on, off = meaning(ModeEntered(("memory is short",))), meaning(ModeEntered(()))
    assert [(m.name, m.value, m.attributes) for m in on.metrics] == [
        ("tezzeret.conservative_mode_active", 1.0, {"reason": "memory is short"})
    ]
    assert (on.events[0].description, on.level) == ("tezzeret.conservative_mode_enabled", Level.WARNING)
    assert (off.events[0].description, off.metrics[0].value) == ("tezzeret.conservative_mode_disabled", 0.0)


def test_a_breakers_move_is_told_by_the_run_that_moved_it():
    opened, closed = (meaning(BreakerMoved("gpu", phase, here=True)) for phase in ("open", "closed"))
    assert [(p.name, p.value, p.attributes) for p in opened.metrics] == [
        ("tezzeret.breaker.state", 2.0, {"breaker": "gpu"}),
        ("tezzeret.breaker.open_total", 1.0, {"breaker": "gpu"}),
    ]
    assert (opened.events[0].description, opened.level) == ("tezzeret.breaker_open", Level.WARNING)
    assert (closed.events[0].description, closed.level) == ("tezzeret.breaker_closed", Level.INFO)
    for event in (BreakerMoved("gpu", "open"), BreakerMoved("gpu", "half_open")):
        assert (len(meaning(event).metrics), meaning(event).events) == (1, ())


def test_a_run_says_how_it_stands_again_and_again_and_at_its_end(compiled, store, monkeypatch):
    monkeypatch.setattr(governing, "SAMPLE_S", 0.0)
    rules = (BreakerRule("gpu", 5, 60.0),)
    compiled("BP001", "BP002", "BP003", interval_s=1e-9, workers=1, breakers=rules)
    told = [entry for entry in lines(store) if entry["health"]]
    assert len(told) > 3
    for entry in told[:-1]:
        names = {p["name"] for p in entry["metrics"]}
        assert {"tezzeret.breaker.state", "tezzeret.conservative_mode_active"} <= names
        assert "tezzeret.jobs.completed" not in names
    assert [entry["counts"] is not None for entry in told] == [*[False] * (len(told) - 1), True]
    assert told[0]["health"]["summary"] == "0 of 3 jobs done"
    health = told[-1]["health"]
    assert (health["status"], health["summary"]) == ("healthy", "3 of 3 jobs done")
    wanted = {"jobs": "3", "running": "0", "compiled": "1", "fallback": "1", "failed": "1", "cached": "0"}
    assert wanted.items() <= health["indicators"].items()
    durations = sorted(p["value"] for p in points(lines(store), "compilation.duration_ms"))
    assert health["indicators"]["duration_p95_ms"] == f"{durations[2]:.1f}"


def test_between_the_times_it_says_nothing(compiled, store):
    compiled("BP001", interval_s=3600.0)
    assert [entry["counts"] is not None for entry in lines(store) if entry["health"]] == [True]


def test_health_follows_the_breakers_and_the_mode():
    standing = Standing()
    standing.on_event(RunStarted("compile", 4, 0, 1), 100.0)
    assert standing.health(101.5).indicators["elapsed_s"] == "1.5"
    assert (standing.hit_rate, standing.health(101.5).status) == (None, "healthy")
    standing.on_event(ModeEntered(("memory is short",)), 102.0)
    assert standing.health(102.0).status == "degraded"
    assert standing.health(102.0).indicators["conservative"] == "memory is short"
    standing.on_event(BreakerMoved("gpu", "open", here=True), 103.0)
    assert standing.health(103.0).status == "unhealthy"
    standing.on_event(Heartbeat({"gpu": "half_open"}, ()), 104.0)
    assert standing.health(104.0).status == "degraded"
    standing.on_event(RunStarted("resume", 2, 0, 1), 105.0)
    assert standing.health(105.0).summary == "0 of 2 jobs done"


def test_spans_of_a_run_its_jobs_and_their_stages(compiled, store):
    report = compiled("BP001", "BP002")
    spans = {span["id"]: span for entry in lines(store) for span in entry["spans"]}
    (run,) = [span for span in spans.values() if span["name"] == "tezzeret.run"]
    assert run["attributes"] == {"command": "compile", "interrupted": "false", "run": report.run}
    jobs = [span for span in spans.values() if span["name"] == "tezzeret.job"]
    assert [(j["attributes"]["blueprint_id"], j["attributes"]["status"], j["parent"]) for j in jobs] == [
        ("BP001", "compiled", run["id"]),
        ("BP002", "fallback", run["id"]),
    ]
    stages = [span for span in spans.values() if span["name"] == "tezzeret.stage"]
    assert {spans[stage["parent"]]["name"] for stage in stages} == {"tezzeret.job"}
    assert {stage["attributes"]["stage"] for stage in stages} == {"compile"}
    for span in (*jobs, *stages):
        above = spans[span["parent"]]
        assert above["start"] <= span["start"] <= span["end"] <= above["end"]


def test_stages_follow_each_other_without_a_gap():
    tracer = Tracer()
    moments = [datetime.datetime(2026, 1, 2, 3, 4, second, tzinfo=datetime.UTC) for second in range(5)]
    done = JobReport("BP001", "1.0.0+a", Status.COMPILED, "fast", 1.0, False, None, None)
    events = (JobStarted(0, "BP001", "x", "standard"), JobStage(0, "capture"), JobStage(0, "prove"))
    assert [tracer.on_event(e, at) for e, at in zip(events, moments, strict=False)] == [(), (), ()]
    job, capture, prove = tracer.on_event(JobFinished(0, done), moments[4])
    assert (job.parent, job.attributes["strategy"]) == ("", "fast")
    assert (capture.start, capture.end) == (moments[1].isoformat(timespec="milliseconds"), prove.start)
    assert prove.end == job.end == moments[4].isoformat(timespec="milliseconds")
    assert tracer.on_event(JobFinished(0, done), moments[4]) == ()


def test_the_oldest_days_go_when_there_is_too_much(store, warned):
    open_store(store)
    (store / "telemetry").mkdir()
    for day in ("20200101", "20200102"):
        (store / "telemetry" / f"{day}-x.jsonl").write_bytes(b"x" * (LIMIT // 2 + 1))
    Spool(store, LIMIT, warned.append).on_event(GC)
    assert not (store / "telemetry" / "20200101-x.jsonl").exists()
    assert (store / "telemetry" / "20200102-x.jsonl").exists()
    assert warned == ["telemetry of 1 days was removed: more than 1 MiB were there"]


def test_what_does_not_fit_is_dropped_and_told(compiled, store, warned):
    compiled("BP001", "BP002", limit=900)
    assert sum(path.stat().st_size for path in (store / "telemetry").iterdir()) <= 900
    assert len(lines(store)) >= 1
    (text,) = warned
    assert "telemetry entries were dropped" in text


def test_a_torn_line_is_ended_before_the_next(store):
    open_store(store)
    Spool(store, LIMIT, print).on_event(GC)
    (path,) = (store / "telemetry").iterdir()
    with path.open("ab") as file:
        file.write(b'{"schema": 1, "id": "')
    Spool(store, LIMIT, print).on_event(GC)
    whole = path.read_text().splitlines()
    assert len(whole) == 3
    SCHEMA.validate(json.loads(whole[2]))
    assert list(idle_runs(store, None)) == []


def test_a_spool_that_cannot_be_written_says_so_once_and_the_run_goes_on(compiled, store, warned):
    open_store(store)
    (store / "telemetry").write_text("in the way")
    report = compiled("BP001", "BP002")
    assert report.counts["compiled"] == 1
    assert warned == [f"no telemetry is kept: {store}/telemetry: File exists"]


def test_a_full_disk_is_told_once(store, warned, monkeypatch):
    open_store(store)
    spool = Spool(store, LIMIT, warned.append)
    monkeypatch.setattr(spooling.os, "write", lambda descriptor, data: len(data) // 2)
    spool.on_event(GC)
    spool.on_event(GC)
    assert warned == [f"no telemetry is kept: {store}/telemetry: No space left on device"]


def test_many_writers_do_not_mix_their_lines(store):
    open_store(store)
    code = (
        "import sys\nfrom pathlib import Path\nfrom tezzeret_cli.telemetry.spool import Spool\n"
        "from tezzeret_cli.model.events import GarbageCollected\n"
        "spool = Spool(Path(sys.argv[1]), 1 << 26, print)\n"
        "for n in range(300):\n    spool.on_event(GarbageCollected({'x' * 500: n}, n))\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(store)], cwd=ROOT) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(lines(store)) == 900


def test_every_observer_gets_every_event_in_order():
    seen = []

    class Keeps:
        def __init__(self, name):
            self.name = name

        def on_event(self, event):
            seen.append((self.name, event))

    Fanout(Keeps("a"), Keeps("b")).on_event(GC)
    assert seen == [("a", GC), ("b", GC)]
