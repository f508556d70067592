"""A prewarm killed, or failed by its disk, at every operation: what was acknowledged is there once."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from tests.faults.forge_sweep import MKDIR_AGAIN, Faulty, child
from tests.support.prewarming import EARLIER, Stopwatch
from tests.support.stores import put
from tezzeret_cli.model.events import BundlePrewarmed, NullObserver
from tezzeret_cli.model.prewarm import Sample
from tezzeret_cli.ops import prewarm_record
from tezzeret_cli.ops.prewarm import Wish, places, prewarm
from tezzeret_cli.ops.prewarm_record import settle_dead
from tezzeret_cli.ops.unfinished import Life, summaries, tidy
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.store import samples as keeping
from tezzeret_cli.store.layout import existing_identity, open_store
from tezzeret_cli.store.samples import path_of, read
from tezzeret_cli.wal.reader import read as records_of

NAMES = ("BP001", "BP002", "BP003")
VERSION = "1.0.0+a"


class Told:
    """An observer that puts down which bundles it was told of, as somebody who watched would."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_event(self, event):
        if isinstance(event, BundlePrewarmed):
            with Faulty.elsewhere(), self._path.open("a") as file:
                file.write(f"{event.blueprint_id}\n")


class Place:
    """A store with a bundle that was measured before, if that is asked for, and two more."""

    def __init__(self, folder: Path, *, earlier: bool = True) -> None:
        self.folder = folder
        self._earlier = earlier
        self.root = folder / "store"
        store = open_store(self.root)
        for name in NAMES:
            put(store, name, VERSION, published=time.time())
        if earlier:
            keeping.append(self.root, "BP001", VERSION, EARLIER)
        self.told_file = folder / "told"
        self.told_file.touch()

    def runs(self, root: Path | None = None) -> Runs:
        return Runs(self.folder / "state", existing_identity(self.root).store_id)

    def prewarm(self):
        wish = Wish(repeat=1, jobs=2, threads=1, timeout_s=9.0)
        return prewarm(places([self.root]), wish, Stopwatch(), {}, Told(self.told_file), self.runs)

    def settle(self):
        settle_dead(self.runs(), self.root, NullObserver())

    def told(self) -> Counter[str]:
        return Counter(self.told_file.read_text().split())

    def kept(self) -> Counter[str]:
        """How many measurements were added of each bundle; every line of their files is one."""
        found: Counter[str] = Counter()
        for name in NAMES:
            path = path_of(self.root, name, VERSION)
            lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
            assert lines.pop() == b"", f"{name}: a torn line"
            made = [msgspec.json.decode(line, type=Sample) for line in lines]
            assert len({sample.when for sample in made}) == len(made), f"{name}: a sample twice"
            found[name] = len(made) - (name == "BP001" and self._earlier)
        return found

    def on_record(self) -> Counter[str]:
        """The bundles that the journals say are measured."""
        found: Counter[str] = Counter()
        for folder in self.runs().root.glob("*/*-*"):
            bundles: dict[bytes, str] = {}
            for frame in records_of(folder):
                record = msgspec.msgpack.decode(frame.payload)
                if record["type"] == "bundle_began":
                    bundles[frame.txn] = record["bundle"].split("/")[1]
                elif record["type"] == "bundle_timed":
                    found[bundles[frame.txn]] += 1
        return found


def check_dead(place: Place, ending: str) -> None:
    """What ``resume --list`` says of a prewarm that died or failed."""
    place.kept()
    for summary in summaries(place.runs()):
        if summary.life is Life.DEAD:
            assert (summary.command, summary.jobs) == ("prewarm", 3)
            assert len(summary.left) == 3 - summary.done
            assert ending != "through"


def check_end(place: Place) -> None:
    """After it is settled, everything on record is kept; after another one, nothing is in the way."""
    place.settle()
    on_record = place.on_record()
    assert place.kept() == on_record
    assert place.told() <= on_record
    tidy(place.runs(), 1e9, NullObserver(), place.root)
    assert place.runs().all_open() == frozenset()
    assert place.prewarm().counts["warmed"] == 2
    assert place.kept() == on_record + Counter(["BP001", "BP002"])
    assert {path.name for path in (place.root / "tmp").iterdir()} <= set()


@pytest.fixture(autouse=True)
def _temporary_files_of_the_killed_go_with_the_test(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def sweep(folder: Path, fault: str, step: int, second: int = 0) -> list[tuple[str, str]]:
    found = []
    at = 1
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        place = Place(folder)
        ending, said, operation = child(lambda place=place: [place.prewarm(), None][1], fault, at)
        assert ending != "unclear", said
        found.append((ending, operation))
        check_dead(place, ending)
        if second:
            again, said, _ = child(place.settle, "kill", second)
            assert again != "unclear", said
            check_dead(place, ending)
        check_end(place)
        if ending == "through":
            return found
        at += step


@pytest.mark.parametrize("second", [0, 9, 16], ids=["", "settled in two goes", "settled later in two goes"])
@pytest.mark.parametrize("fault", ["kill", "after"])
def test_killed_at_every_operation_what_was_acknowledged_is_kept(tmp_path, full, fault, second):
    endings = Counter(ending for ending, _ in sweep(tmp_path / "place", fault, 1 if full else 3, second))
    assert set(endings) <= {"killed", "through", "done"}  # done: making a folder that is there
    assert endings["killed"] >= (40 if full else 12)


@pytest.mark.parametrize("for_good", ["", "+"], ids=["once", "for good"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_disk_that_fails_at_every_operation_loses_nothing(tmp_path, full, error, for_good):
    points = sweep(tmp_path / "place", error + for_good, 1 if full else 7)
    assert {ending for ending, _ in points} <= {"clear", "done", "through"}
    assert {operation for ending, operation in points if ending == "done"} <= {"rmdir", MKDIR_AGAIN}


def test_a_sample_that_is_forgotten_is_found(tmp_path, monkeypatch):
    def settle(runs, ledger, root, reason=""):
        ledger.abandoned("forgotten")
        runs.put_away(ledger)
        return ""

    monkeypatch.setattr(prewarm_record, "settle", settle)
    with pytest.raises(AssertionError, match="Counter"):
        sweep(tmp_path / "place", "kill", 1)


def test_a_line_that_is_written_in_place_is_found(tmp_path, monkeypatch):
    def in_place(path, data, draft):
        path.write_bytes(data[:-9])
        path.write_bytes(data)

    monkeypatch.setattr(keeping, "write_whole", in_place)
    with pytest.raises(AssertionError, match="a torn line"):
        sweep(tmp_path / "place", "kill", 1)


def test_a_sample_that_is_kept_again_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "read", lambda *args: [])
    with pytest.raises(AssertionError, match="a sample twice"):
        sweep(tmp_path / "place", "kill", 1)


def test_readers_of_samples_see_them_beside_a_line_that_an_earlier_version_left_torn(tmp_path):
    place = Place(tmp_path)
    path = path_of(place.root, "BP001", VERSION)
    path.write_bytes(path.read_bytes()[:-9])
    place.prewarm()
    assert len(read(place.root, "BP001", VERSION)) == 1
