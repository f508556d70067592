"""The telemetry of runs: every line by its schema, bounded, and never in a run's way."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import jsonschema
import pytest

from tests.support.command import ROOT
from tests.support.forging import Simulator, forge, job, plan
from tests.unit.ops.test_stats import mixed
from tezzeret_cli.cli.observers import Fanout
from tezzeret_cli.model.events import (
    BundlePrewarmed,
    GarbageCollected,
    JobStage,
    ModeEntered,
    Notice,
    RunFinished,
)
from tezzeret_cli.model.report import Report
from tezzeret_cli.model.telemetry import Level
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.ops.history import History
from tezzeret_cli.ops.stats import gather
from tezzeret_cli.store.layout import open_store
from tezzeret_cli.telemetry import spool as spooling
from tezzeret_cli.telemetry.metrics import meaning
from tezzeret_cli.telemetry.spool import Spool, idle_runs

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

    def run(*names: str, limit: int = LIMIT, **options):
        spool = Spool(open_store(store).root, limit, warned.append)
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
