"""Collections over real folders: what goes, what stays, and what is on record of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import msgspec
import pytest

from tests.support.forging import Simulator, forge, job, plan, script
from tests.support.manifests import draft, stage
from tests.support.stores import DAY, put
from tezzeret_cli.bundle.scan import published
from tezzeret_cli.bundle.use import in_use, last_use, mark_of, touch
from tezzeret_cli.bundle.version import parse
from tezzeret_cli.errors import StoreError, StoreLockedError
from tezzeret_cli.model.collect import GcPlan, Kind, Rules
from tezzeret_cli.ops import gc as collecting
from tezzeret_cli.ops import gc_mark as marking
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.ops.environment import Environments
from tezzeret_cli.ops.gc import collect, would_collect
from tezzeret_cli.ops.unfinished import tidy
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.store.layout import open_store
from tezzeret_cli.store.publish import publish
from tezzeret_cli.store.retired import retire, unused
from tezzeret_cli.trust.signer import Unsigned
from tezzeret_cli.wal.reader import read

OLD = 40 * DAY


class Place:
    """A store with its journals and its cache, all in one folder."""

    def __init__(self, root):
        self.root = root
        self.store = open_store(root / "store")
        self.runs = Runs(root / "state", self.store.identity.store_id)
        self.cache = root / "cache"
        self.now = time.time()

    def put(self, name="BP001", version="1.0.0+cpu-avx2-a", age=OLD, used=None, **changes):
        used = None if used is None else self.now - used
        return put(self.store, name, version, published=self.now - age, used=used, **changes)

    def plan(self, **rules):
        rules.setdefault("ttl_s", 30 * DAY)
        return GcPlan(
            "0",
            self.store.identity.store_id,
            str(self.store.root),
            str(self.cache),
            Rules(**rules),
            time.time(),
        )

    def collect(self, **rules):
        return collect(self.store, self.runs, self.plan(**rules))

    def would(self, **rules):
        return would_collect(self.store.root, self.runs, self.plan(**rules))

    def there(self):
        return sorted(f"{item.blueprint_id}/{item.version}" for item in published(self.store.root))


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def gone(report):
    return {item.path for item in report.removed}


def test_a_dry_run_says_exactly_what_the_real_one_does_and_writes_nothing(place):
    old, _ = place.put(), place.put("BP002", age=1 * DAY)
    before = sorted(str(path) for path in place.root.rglob("*"))
    told = place.would()
    assert sorted(str(path) for path in place.root.rglob("*")) == before
    done = place.collect()
    assert told.removed == done.removed
    assert [(i.kind, i.path, i.bytes) for i in done.removed] == [(Kind.BUNDLE, str(old), done.freed_bytes)]
    assert done.removed[0].reason == "unused for 40 d, 30 d allowed"
    assert place.there() == ["BP002/1.0.0+cpu-avx2-a"]
    assert not old.parent.exists()
    assert list(place.store.tmp.iterdir()) == []
    assert place.collect().run is None


def test_a_load_counts_as_a_use(place):
    bundle = place.put()
    with in_use(bundle):
        pass
    assert time.time() - last_use(str(bundle)) < 5
    assert place.collect().removed == ()
    os.utime(mark_of(str(bundle)), (0, 0))
    assert gone(place.collect()) == {str(bundle)}
    assert not os.path.exists(mark_of(str(bundle)))


def test_a_compile_that_finds_a_bundle_done_counts_as_a_use(place):
    jobs = [job("BP001")]
    report = compile_blueprints(plan(place.store.root, jobs), forge(place.store.root, Simulator(script)))
    bundle = place.store.root / report.jobs[0].bundle
    os.utime(bundle / "manifest.json", (0, 0))
    compile_blueprints(plan(place.store.root, jobs), forge(place.store.root, None))
    assert time.time() - last_use(str(bundle)) < 5


def test_publication_counts_where_no_use_can_be_noted(place, tmp_path):
    bundle = place.put(age=1 * DAY)
    (place.store.root / "used").write_text("in the way")
    with in_use(bundle):
        pass
    assert place.collect().removed == ()


def test_a_folder_outside_of_a_store_gets_no_notes(tmp_path):
    bundle = stage(tmp_path / "bundles" / "BP001" / "1.0.0+a")
    with in_use(bundle), in_use(tmp_path / "nowhere"):
        pass
    assert not (tmp_path / "used").exists()


def test_what_is_being_loaded_stays(place):
    bundle = place.put()
    code = (
        "import sys, time\nfrom tezzeret_cli.bundle import use\n"
        "use.touch = lambda bundle: None\n"
        "with use.in_use(sys.argv[1]):\n    print('in', flush=True)\n    sys.stdin.read()\n"
    )
    loader = subprocess.Popen(
        [sys.executable, "-c", code, bundle], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert loader.stdout.readline() == b"in\n"
    assert [kept.reason for kept in place.collect().kept] == ["a process is loading it"]
    loader.communicate()
    assert gone(place.collect()) == {str(bundle)}


def test_what_is_used_between_mark_and_removal_stays(place, monkeypatch):
    bundle = place.put()
    real = Runs.begin
    monkeypatch.setattr(Runs, "begin", lambda *args: [touch(bundle), real(*args)][1])
    report = place.collect()
    assert (report.removed, [kept.reason for kept in report.kept]) == ((), ["it was used meanwhile"])
    assert place.there()


def test_what_an_unfinished_run_made_or_needs_stays(place):
    class Dies(Simulator):
        def start(self, task):
            raise KeyboardInterrupt

    parts = forge(place.store.root, Dies(script))
    made = place.put("BP009", job_key=job("BP009").key)
    with pytest.raises(KeyboardInterrupt):
        compile_blueprints(plan(place.store.root, [job("BP009"), job("BP001")]), parts)
    os.utime(mark_of(str(made)), (0, 0))
    (run,) = place.runs.unfinished()
    other = place.put("BP008", run=run)
    report = place.collect()
    assert {kept.path: kept.reason for kept in report.kept} == {
        str(made): "an unfinished run needs it",
        str(other): "an unfinished run made it",
    }
    assert report.removed == ()


def test_a_run_that_began_since_the_mark_is_seen(place, monkeypatch):
    bundle = place.put("BP001", job_key=job("BP001").key)
    begun = []
    real = Runs.begin

    def begin(self, what):
        if isinstance(what, GcPlan):
            begun.append(real(self, plan(place.store.root, [job("BP001")])))
        return real(self, what)

    monkeypatch.setattr(Runs, "begin", begin)
    assert [kept.reason for kept in place.collect().kept] == ["an unfinished run needs it"]
    assert bundle.exists()
    begun[0].close()


def test_a_staging_folder_of_a_run_that_began_since_the_mark_began_stays(place, monkeypatch):
    begun = []
    real = Runs.unsettled

    def unsettled(self):
        found = real(self)
        ledger = self.begin(plan(place.store.root, [job("BP001")]))
        (place.store.tmp / f"run-{ledger.run_id}").mkdir()
        begun.append(ledger)
        return found

    monkeypatch.setattr(Runs, "unsettled", unsettled)
    assert place.would().removed == ()
    for ledger in begun:
        ledger.close()


def test_scratch_that_goes_while_it_is_looked_at_is_passed_over(place, monkeypatch):
    scratch = place.cache / "scratch" / "20200101T000000Z-00000000"
    scratch.mkdir(parents=True)
    os.utime(scratch, (0, 0))
    assert [item.kind for item in place.would().removed] == [Kind.SCRATCH]
    real = marking.entries

    def entries(folder):
        found = list(real(folder))
        if folder == str(scratch.parent):
            scratch.rmdir()
        return found

    monkeypatch.setattr(marking, "entries", entries)
    assert place.would().removed == ()


def test_everything_is_on_record_before_it_goes(place, monkeypatch):
    for number in range(70):
        place.put(f"BP{number:03d}")
    report = place.collect()
    assert len(report.removed) == 70
    frames = read(place.runs.root / "done" / report.run)
    records = [msgspec.msgpack.decode(frame.payload) for frame in frames]
    assert [(r["type"], len(r.get("items", ()))) for r in records] == [
        ("gc_began", 0),
        ("gc_marked", 64),
        ("gc_marked", 6),
        ("gc_ended", 0),
    ]
    assert records[-1]["counts"] == {"bundle": 70}


def test_a_collection_that_died_is_in_nobodys_way(place, monkeypatch):
    place.put()
    monkeypatch.setattr(collecting._Sweep, "_retire", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr(collecting.Staging, "close", lambda self: self._lock.release())
    with pytest.raises(KeyboardInterrupt):
        place.collect()
    monkeypatch.undo()
    assert len(place.runs.all_open()) == 1
    assert [item.kind for item in place.would().removed] == [Kind.BUNDLE, Kind.STAGING]
    assert [item.kind for item in place.collect().removed] == [Kind.BUNDLE, Kind.STAGING]
    tidy(place.runs, 1e9, forge(place.store.root, None).observer, place.store.root)
    assert place.runs.all_open() == frozenset()


def test_two_collections_do_not_meet(place):
    place.put()
    with collecting._alone(place.store), pytest.raises(StoreLockedError, match="another gc is at work"):
        place.collect()


def test_a_version_that_went_is_never_given_out_again(place):
    place.put(version="1.0.0+cpu-avx2-a")
    place.put(version="1.2.3+cpu-avx2-a")
    assert len(place.collect().removed) == 2
    staged = stage(place.store.tmp / "x")
    made = publish(place.store, staged, draft(lineage="cpu-avx2-a"), lambda *args: None, Unsigned())
    assert made.version == "2.0.0+cpu-avx2-a"


def test_a_newer_version_that_went_is_passed_over(tmp_path):
    retire(tmp_path, "BP001", [parse("1.2.3+a"), parse("1.0.0+a"), parse("4.0.0+b")])
    retire(tmp_path, "BP001", [parse("1.2.0+a")])

    def next_one(last, wanted):
        return str(unused(tmp_path, "BP001", parse(last), parse(wanted)))

    assert next_one("1.1.0+a", "1.1.1+a") == "1.2.4+a"
    assert next_one("1.1.0+a", "1.2.0+a") == "1.3.0+a"
    assert next_one("1.1.0+a", "2.0.0+a") == "2.0.0+a"
    assert next_one("1.3.0+a", "1.3.1+a") == "1.3.1+a"
    assert next_one("", "1.0.0+b") == "5.0.0+b"
    assert next_one("", "1.0.0+c") == "1.0.0+c"
    (tmp_path / "retired" / "BP001.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        next_one("", "1.0.0+a")


def test_staging_records_and_journals_of_what_is_over_go(place):
    parts = forge(place.store.root, Simulator(script))
    report = compile_blueprints(plan(place.store.root, [job("BP001")]), parts)
    leftover = place.store.tmp / f"run-{report.run}"
    leftover.mkdir()
    foreign = place.store.tmp / "run-20200101T000000Z-00000000"
    foreign.mkdir()
    stale = place.store.root / "used" / "BP077" / "1.0.0+a"
    stale.parent.mkdir(parents=True)
    stale.touch()
    journal = place.runs.root / "done" / report.run
    os.utime(journal, (0, 0))
    found = {item.path: item.kind for item in place.collect().removed}
    assert found == {str(leftover): Kind.STAGING, str(stale): Kind.RECORD, str(journal): Kind.JOURNAL}
    assert foreign.exists()
    assert not journal.exists()
    assert list((place.runs.root / "starting").iterdir()) == []


def cached(place, name="objects/x.o", age=OLD, target="2.13.0+cpu-avx2"):
    path = place.cache / "inductor" / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"1234")
    os.utime(path, (place.now - age, place.now - age))
    return path


def test_caches_go_by_last_use(place):
    old = [
        cached(place),
        cached(place, "headers/k.h.gch"),
        cached(place, "headers/k.h"),
        cached(place, "tmp/d"),
    ]
    new = [
        cached(place, "objects/y.o", age=1 * DAY),
        cached(place, "headers/l.h.gch", age=1 * DAY),
        cached(place, "headers/l.h"),
        cached(place, "objects/z.o", target="whatever"),
    ]
    os.utime(new[1], (place.now - DAY, place.now - OLD))  # read a day ago
    report = place.collect()
    assert gone(report) == set(map(str, old))
    assert {item.kind for item in report.removed} == {Kind.CACHE}
    assert all(path.exists() for path in new)


def test_caches_and_scratch_of_a_running_compile_stay(place):
    facts = plan(place.store.root, []).facts
    run = "20260101T000000Z-00000000"
    environments = Environments({}, place.cache, run, facts, 1)
    old = cached(place, target=f"{facts.torch}-{facts.isa}")
    scratch = place.cache / "scratch" / run
    os.utime(scratch, (0, 0))
    report = place.collect()
    assert [kept.reason for kept in report.kept] == ["a run is using it"]
    assert report.removed == ()
    for lock in environments._locks:
        lock.release()
    assert gone(place.collect()) == {str(old), str(scratch)}


def test_what_cannot_be_removed_is_told(place):
    if os.geteuid() != 0:
        pytest.skip("making a file immutable needs root")
    old = cached(place)
    if subprocess.run(["chattr", "+i", old], check=False, capture_output=True).returncode:
        pytest.skip("this filesystem knows no immutable files")
    try:
        report = place.collect()
        assert [(kept.path, report.removed) for kept in report.failed] == [(str(old), ())]
        assert "not permitted" in report.failed[0].reason
    finally:
        subprocess.run(["chattr", "-i", old], check=True)


def test_beside_a_running_compile_nothing_is_lost(place):
    stop = threading.Event()
    problems = []

    def collecting_all_the_time():
        while not stop.is_set():
            try:
                place.collect(ttl_s=1.0, keep=1)
            except BaseException as error:
                problems.append(error)
                return

    thread = threading.Thread(target=collecting_all_the_time)
    thread.start()
    try:
        for number in range(10):
            names = [f"BP{number:02d}{index}" for index in range(4)]
            report = compile_blueprints(
                plan(place.store.root, [job(name) for name in names]),
                forge(place.store.root, Simulator(script)),
            )
            assert report.counts["compiled"] == 4
            assert all((place.store.root / j.bundle / "manifest.json").exists() for j in report.jobs)
    finally:
        stop.set()
        thread.join()
    assert problems == []
