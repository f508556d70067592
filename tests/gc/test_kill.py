"""A collection killed, or failed by its disk, at every operation: the store is whole, the next one ends."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.forge_sweep import MKDIR_AGAIN, child
from tests.gc.test_collect import OLD, Place, cached
from tests.support.forging import Simulator, forge, job, plan, script
from tests.support.manifests import draft, stage
from tezzeret_cli.bundle.read import read_files, read_manifest
from tezzeret_cli.bundle.scan import published
from tezzeret_cli.errors import DamagedBundleError
from tezzeret_cli.ops import gc as collecting
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.ops.unfinished import tidy
from tezzeret_cli.store import publish as publishing
from tezzeret_cli.trust.signer import Unsigned

HARMLESS = {"unlink", "rmdir", "open", MKDIR_AGAIN}
"""What may fail without an error: removals, and the lock of a folder that then stays. The report tells."""

FOREIGN = "run-20200101T000000Z-00000000"
STAYS = ["BP001/1.1.0+a", "BP003/1.0.0+a"]


def prepared(folder: Path) -> Place:
    """Three bundles that go (one of them the newest of its lineage), two that stay, and other things."""
    place = Place(folder)
    place.put("BP001", "1.0.0+a", used=OLD)
    place.put("BP001", "1.1.0+a", age=1)
    place.put("BP002", "1.0.0+a")
    place.put("BP002", "1.0.1+a", used=OLD)
    place.put("BP003", "1.0.0+a", age=1)
    cached(place)
    leftover = place.store.tmp / FOREIGN
    (leftover / "0-BP001").mkdir(parents=True)
    os.utime(leftover, (0, 0))
    return place


def collect_all(place: Place) -> None:
    collecting.rename_no_replace = publishing.rename_no_replace
    place.collect()


def check_whole(place: Place) -> None:
    """Every bundle that a reader sees is one, and those that should stay are there."""
    seen = {str(item.path) for item in published(place.store.root)}
    halves = {str(path) for path in place.store.root.glob("bundles/*/*")} - seen
    assert not halves, f"half a bundle without manifest: {halves}"
    for item in published(place.store.root):
        manifest, _ = read_manifest(item.path)
        read_files(item.path, manifest)
    assert set(STAYS) <= set(place.there())


def check_end(place: Place) -> None:
    """The next collection removes the rest, and whoever comes then finds nothing in the way."""
    place.collect()
    assert place.there() == STAYS
    tidy(place.runs, 1e9, forge(place.store.root, None).observer, place.store.root)
    assert place.runs.all_open() == frozenset()
    report = compile_blueprints(
        plan(place.store.root, [job("BP009")]), forge(place.store.root, Simulator(script))
    )
    assert report.counts["compiled"] == 1
    assert {path.name for path in place.store.tmp.iterdir()} <= {FOREIGN}  # half of it gone: a week more
    assert not list(place.cache.rglob("*.o"))
    staged = stage(place.root / "staged")
    made = publishing.publish(
        place.store, staged, draft(blueprint_id="BP002", lineage="a"), lambda *args: None, Unsigned()
    )
    assert made.version == "2.0.0+a"


def sweep(folder: Path, fault: str, step: int) -> list[tuple[str, str]]:
    found = []
    at = 1
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        place = prepared(folder)
        ending, said, operation = child(lambda place=place: collect_all(place), fault, at)
        assert ending != "unclear", said
        found.append((ending, operation))
        check_whole(place)
        check_end(place)
        if ending == "through":
            return found
        at += step


@pytest.mark.parametrize("fault", ["kill", "after"])
def test_killed_at_every_operation_the_store_is_whole(tmp_path, full, fault):
    endings = Counter(ending for ending, _ in sweep(tmp_path / "place", fault, 1 if full else 5))
    assert set(endings) <= {"killed", "through", "done"}  # done: making a folder that is there
    assert endings["killed"] >= (50 if full else 10)


@pytest.mark.parametrize("for_good", ["", "+"], ids=["once", "for good"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_disk_that_fails_at_every_operation_loses_nothing(tmp_path, full, error, for_good):
    points = sweep(tmp_path / "place", error + for_good, 1 if full else 11)
    assert {ending for ending, _ in points} <= {"clear", "done", "through"}
    assert {operation for ending, operation in points if ending == "done"} <= HARMLESS


def test_bundles_taken_apart_where_readers_see_them_are_found(tmp_path, monkeypatch):
    def in_place(self, batch):
        self._retire(batch)
        for item in batch:
            self._take_apart(item)

    monkeypatch.setattr(collecting._Sweep, "_bundles", in_place)
    with pytest.raises((AssertionError, DamagedBundleError), match=r"half a bundle|cannot be opened"):
        sweep(tmp_path / "place", "kill", 1)


def test_versions_that_are_forgotten_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(collecting._Sweep, "_retire", lambda self, going: None)
    with pytest.raises(AssertionError, match=r"2\.0\.0"):
        sweep(tmp_path / "place", "kill", 1)
