"""Publication, store and runs on a simulated disk; and proof that the simulation sees a missing sync.

Each sync is left out in turn. Where that loses nothing, the table says why the sync is there all the same;
everywhere else the search must find the loss. Syncs of the log alone are left out in ``test_power_cuts``.
"""

from __future__ import annotations

import ast
import os
import tempfile
from pathlib import Path

import pytest

from tests.faults.publication import Search
from tests.faults.test_power_cuts import DSYNC, FSYNC
from tests.support.recordings import HELPERS
from tezzeret_cli import runs, wal
from tezzeret_cli.ops import attempt
from tezzeret_cli.store import publish

RENAMED = (
    "a rename between two folders is one change, which the sync of either makes durable; both are synced for "
    "filesystems that log folders one by one"
)
REBUILT = (
    "where the staged bundle is lost before its rename, or an older folder is in its place, that is put "
    "aside and it is built again: its job has not ended"
)

SITES = {
    "disk.make_folders: sync_folder(disk, above)": None,
    "layout._make_identity: sync(draft)": None,
    "layout.open_store: sync_folder(root)": None,
    "folder._prepare: sync_folder(disk, self.root)": None,
    "journal.move: sync_folder(self._disk, target.parent)": RENAMED,
    "journal.move: sync_folder(self._disk, source.parent)": RENAMED,
    "publish.publish: sync_folder(staged.parent)": REBUILT,
    "publish.sync_tree: sync(Path(directory) / name)": None,
    "publish.sync_tree: sync_folder(Path(directory))": None,
    "publish.move_into_place: sync_folder(target.parent.parent)": None,
    "publish.move_into_place: sync_folder(target.parent)": RENAMED,
    "publish.move_into_place: sync_folder(staged.parent)": RENAMED,
    "publish.keep_in_place: sync_folder(bundle.parent)": None,
}
TOGETHER = {
    "a journal's move": {
        "journal.move: sync_folder(self._disk, target.parent)",
        "journal.move: sync_folder(self._disk, source.parent)",
    },
    "a bundle's move": {
        "publish.move_into_place: sync_folder(target.parent)",
        "publish.move_into_place: sync_folder(staged.parent)",
    },
}
"""Syncs of which one is enough, but not none."""

LOG = {site.removesuffix(">sync_folder").split(">")[-1] for site in (*DSYNC, *FSYNC)}
"""The functions whose syncs ``test_power_cuts`` leaves out."""


LEFT_OVER = "store/tmp/run-"
"""A staging folder that stays until the next run sweeps it is no loss: a redundant sync may leave one."""


@pytest.fixture
def scratch(tmp_path):
    """A folder in memory where that is to be had: a search makes many thousands of small files."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


def function(site: str) -> str:
    return site.partition(":")[0].partition(".")[2]


def test_nothing_published_is_lost_in_any_state_that_survives(scratch, full, tally):
    search = Search(scratch, samples=6 if full else 2, stride=1 if full else 8)
    assert list(search) == []
    tally("simulated disk states, store and runs", search.states)
    assert search.states > (3000 if full else 200)
    assert {site for site in search.sites if function(site) not in LOG | {""}} == set(SITES)


@pytest.mark.parametrize(("site", "redundant"), SITES.items(), ids=SITES)
def test_a_sync_left_out_is_noticed_or_known_to_be_redundant(scratch, full, tally, site, redundant):
    size = {"samples": 2, "stride": 1 if full else 12} if redundant else {"samples": 4}
    search = Search(scratch, without={site}, **size)
    found = next(iter(search), None)
    if found is None and redundant is None:  # what survives a cut is drawn: look at more of it
        search = Search(scratch, without={site}, samples=16)
        found = next(iter(search), None)
    tally("simulated disk states, a sync left out", search.states)
    if redundant and found and LEFT_OVER in found:
        return
    assert (found is None) == (redundant is not None), found


@pytest.mark.parametrize("sites", TOGETHER.values(), ids=TOGETHER)
def test_syncs_of_which_one_is_enough_are_noticed_when_both_are_left_out(scratch, sites):
    assert next(iter(Search(scratch, without=sites)), None)


def test_a_bundle_that_is_renamed_before_it_is_on_record_is_noticed(scratch, monkeypatch):
    real = publish.publish

    def late(store, staged, draft, about_to, signer):
        seen = []
        manifest = real(store, staged, draft, lambda *args: seen.append(args), signer)
        about_to(*seen[-1])
        return manifest

    monkeypatch.setattr(attempt, "publish", late)
    assert next(iter(Search(scratch)), None)


def synced_in(path: Path) -> set[str]:
    """The functions of a file that ask for a sync, as ``file.function: line``."""
    source = path.read_text()
    found = set()
    for definition in ast.walk(ast.parse(source)):
        if not isinstance(definition, ast.FunctionDef) or definition.name in HELPERS:
            continue
        for node in ast.walk(definition):
            if isinstance(node, ast.Call):
                called = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                if called in HELPERS:
                    found.add(f"{path.stem}.{definition.name}: {ast.get_source_segment(source, node)}")
    return found


def test_every_sync_of_log_runs_and_publication_is_left_out_somewhere():
    files = [path for package in (wal, runs) for path in Path(package.__file__).parent.glob("*.py")]
    folder = Path(publish.__file__).parent
    found = set().union(*map(synced_in, [*files, folder / "publish.py", folder / "layout.py"]))
    missing = {site for site in found if site not in SITES and function(site) not in LOG}
    assert missing == {"layout.probe: sync(path)"}, "not a promise: it only asks whether the disk takes bytes"
    assert set(SITES) <= found
