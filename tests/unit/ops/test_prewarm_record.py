"""What a prewarm puts on record, and what becomes of that when it does not end."""

from __future__ import annotations

import shutil
import time

import msgspec
import pytest

from tests.support.forging import Simulator, forge, job, plan, script
from tests.support.prewarming import EARLIER, Stopwatch
from tests.support.stores import put
from tests.unit.test_schemas import validator
from tezzeret_cli.errors import InputError, StoreError, UnfinishedRunError
from tezzeret_cli.model.events import NullObserver
from tezzeret_cli.model.prewarm import PrewarmPlan
from tezzeret_cli.ops import prewarm as warming
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.ops.history import History
from tezzeret_cli.ops.prewarm import Wish, places, prewarm
from tezzeret_cli.ops.prewarm_record import settle_dead
from tezzeret_cli.ops.stats import gather
from tezzeret_cli.ops.unfinished import Life, abandon, summaries, tidy
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.store import layout
from tezzeret_cli.store.layout import existing_identity, open_store
from tezzeret_cli.store.samples import read as samples_of
from tezzeret_cli.wal.frame import Type
from tezzeret_cli.wal.reader import read

VERSION = "1.0.0+a"


class Place:
    def __init__(self, root):
        self.root = root
        for name in ("BP001", "BP003"):
            put(open_store(root), name, VERSION, published=time.time())
        self.runs = self.runs_of(root)

    def runs_of(self, root):
        return Runs(self.root.parent / "state", existing_identity(root).store_id)

    def prewarm(self, *paths, on_start=lambda warming: None):
        wish = Wish(repeat=3, jobs=2, threads=1, timeout_s=9.0)
        found = places(paths or [self.root])
        return prewarm(found, wish, Stopwatch(), {}, NullObserver(), self.runs_of, on_start)

    def records(self, runs=None):
        (folder,) = ((runs or self.runs).root / "done").iterdir()
        return [
            (Type(frame.type).name, msgspec.msgpack.decode(frame.payload), frame.txn)
            for frame in read(folder)
        ]

    def dead(self, *, timed=True):
        """A prewarm that died when BP001 was measured, or before; its id."""
        plan = PrewarmPlan(
            "0", "id", str(self.root), ("bundles/BP001/1.0.0+a", "bundles/BP003/1.0.0+a"), 3, 1, 1, None, 1.0
        )
        ledger = self.runs.begin(plan)
        part = ledger.timing(plan.bundles[0])
        if timed:
            part.timed(EARLIER)
        ledger.close()
        return ledger.run_id

    def kept(self):
        return samples_of(self.root, "BP001", VERSION)

    def stats(self):
        return gather(self.root, self.runs, History(self.runs), self.root.parent / "cache", None, time.time())


@pytest.fixture
def place(store):
    return Place(store)


def test_each_bundle_is_a_transaction_in_the_journal_of_its_store(place):
    place.prewarm()
    records = place.records()
    begun, *_ = records
    assert [(frame, record["type"]) for frame, record, _ in records] == [
        ("BEGIN", "prewarm_began"),
        ("BEGIN", "bundle_began"),
        ("BEGIN", "bundle_began"),
        ("DATA", "bundle_timed"),
        ("COMMIT", "bundle_ended"),
        ("ABORT", "bundle_ended"),
        ("COMMIT", "prewarm_ended"),
    ]
    assert begun[1]["plan"]["bundles"] == ["bundles/BP001/1.0.0+a", "bundles/BP003/1.0.0+a"]
    assert records[1][2] == records[3][2] == records[4][2] != records[2][2] == records[5][2]
    assert records[5][1] == {"type": "bundle_ended", "status": "failed", "kept": False}
    assert records[6][1]["counts"] == {"warmed": 1, "failed": 1}
    check = validator("record")
    for _, record, _ in records:
        check.validate(record)


def test_each_store_has_its_journal_however_it_is_named(place, monkeypatch):
    other = open_store(place.root.parent / "other").root
    put(open_store(other), "BP001", VERSION, published=time.time())
    monkeypatch.chdir(place.root.parent)
    bundle = place.root / "bundles" / "BP001" / VERSION
    report = place.prewarm(bundle, bundle.parents[2], other)
    assert report.counts["warmed"] == 3
    assert place.records()[-1][1]["counts"] == {"warmed": 2, "failed": 1}
    assert place.records(place.runs_of(other))[-1][1]["counts"] == {"warmed": 1}
    assert len(place.kept()) == 2


def test_one_that_is_interrupted_ends_on_record(place):
    class Stops(Stopwatch):
        def wait(self, timeout_s):
            going.stop()
            return super().wait(timeout_s) if self.cancelled else []

        def cancel(self):
            self.cancelled = True
            super().cancel()

        cancelled = False

    def started(warming):
        nonlocal going
        going = warming

    going = None
    wish = Wish(repeat=3, jobs=1, threads=1, timeout_s=9.0)
    report = prewarm(places([place.root]), wish, Stops(), {}, NullObserver(), place.runs_of, started)
    assert report.interrupted
    assert [record["type"] for _, record, _ in place.records()] == [
        "prewarm_began",
        "bundle_began",
        "bundle_ended",
        "prewarm_ended",
    ]
    assert place.records()[-1][1]["counts"] == {"interrupted": 1}
    assert place.kept() == []


def test_what_a_dead_one_measured_is_kept_by_whoever_comes_next(place):
    run = place.dead()
    (summary,) = summaries(place.runs)
    assert (summary.run, summary.life, summary.command) == (run, Life.DEAD, "prewarm")
    assert (summary.jobs, summary.done, summary.left) == (2, 0, ("BP001", "BP003"))
    with pytest.raises(UnfinishedRunError):
        compile_blueprints(plan(place.root, [job("BP009")]), forge(place.root, Simulator(script)))
    tidy(place.runs, 1e9, NullObserver(), place.root)
    assert place.kept() == [EARLIER]
    assert summaries(place.runs) == []
    assert [(frame, record["type"]) for frame, record, _ in place.records()][-2:] == [
        ("COMMIT", "bundle_ended"),
        ("ABORT", "run_abandoned"),
    ]
    report = compile_blueprints(plan(place.root, [job("BP009")]), forge(place.root, Simulator(script)))
    assert report.counts["compiled"] == 1


def test_it_is_kept_before_the_next_one_compares_with_it(place):
    place.dead()
    report = place.prewarm()
    assert len(place.kept()) == 2
    (warmed, _) = report.bundles
    assert warmed.regression == 0.0


def test_one_that_is_given_up_has_kept_what_it_measured(place):
    assert abandon(place.runs, place.dead(), "by the operator", place.root) is None
    assert place.kept() == [EARLIER]
    assert place.records()[-1][1] == {"type": "run_abandoned", "reason": "by the operator"}


def test_what_was_not_measured_is_lost_and_what_is_gone_gets_no_notes(place):
    place.dead(timed=False)
    settle_dead(place.runs, place.root, NullObserver())
    assert (place.kept(), place.records()[-2][1]["status"]) == ([], "lost")
    shutil.rmtree(place.runs.root / "done")
    place.dead()
    shutil.rmtree(place.root / "bundles" / "BP001")
    settle_dead(place.runs, place.root, NullObserver())
    assert not (place.root / "samples").exists()
    assert place.records()[-2][1] == {"type": "bundle_ended", "status": "lost", "kept": False}


def test_one_that_is_alive_is_left_alone(place):
    ledger = place.runs.begin(PrewarmPlan("0", "id", str(place.root), ("bundles/a/b",), 3, 1, 1, None, 1.0))
    settle_dead(place.runs, place.root, NullObserver())
    tidy(place.runs, 0.0, NullObserver(), place.root)
    assert [summary.life for summary in summaries(place.runs)] == [Life.LIVE]
    ledger.close()


def test_statistics_count_them_apart_from_runs(place):
    place.prewarm()
    stats = place.stats()
    assert (stats.runs.prewarms, stats.runs.ended, stats.runs.dead) == (1, 0, 0)
    assert (stats.journal.committed, stats.journal.aborted, stats.journal.open) == (2, 1, 0)
    place.dead()
    stats = place.stats()
    assert (stats.runs.prewarms, stats.runs.dead, stats.journal.open) == (1, 1, 2)


def test_a_store_that_cannot_be_written_is_told_before_anything_is_measured(place, monkeypatch):
    monkeypatch.setattr(layout.os, "access", lambda *args: False)
    with pytest.raises(StoreError, match="Permission denied"):
        place.prewarm()
    assert place.runs.all_open() == frozenset()
    assert not (place.root / "samples").exists()


def test_no_room_for_temporary_files_is_one_line(place, monkeypatch):
    monkeypatch.setattr(warming.tempfile, "tempdir", "/nowhere")
    with pytest.raises(InputError, match=r"TMPDIR /nowhere: No such file"):
        place.prewarm()
