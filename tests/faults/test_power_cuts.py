"""Power cuts, dead processes and lossy syncs on a simulated disk; and proof that the simulation sees them.

Each sync of the journal is left out in turn. Where that loses nothing, the table says why the sync is
there all the same; everywhere else the search must find the loss.
"""

from __future__ import annotations

import os

import pytest

from tests.support.crashes import Search
from tests.support.workload import OPTIONS, SYNCED
from tezzeret_cli.wal import writer
from tezzeret_cli.wal.disk import opened, sync_folder, write_all
from tezzeret_cli.wal.journal import _remove_before
from tezzeret_cli.wal.segment import name

LEFTOVERS = (
    "old segments that come back are below the base: readers ignore them, the next opening removes them"
)
COPY = "a copy for people; the original bytes stay in the segment, which is never written to again"
REBASED = "the base that follows stands for the whole log, its seal included"
GOODBYE = "a seal that is lost says less: everything before it was durable already"

BOTH = {
    "drop_cache": None,
    "open>_recover>sync_folder": None,
    "open>_recover>_make_durable": None,
    "open>_recover>_make_durable>sync_folder": None,
    "open>_recover>__init__>_advance>create": None,
    "open>_recover>__init__>_advance>create>sync_folder": None,
    "append>append>_advance>create": None,
    "append>append>_advance>create>sync_folder": None,
    "compact>rebase>_advance>create": None,
    "compact>rebase>_advance>create>sync_folder": None,
    "compact>_remove_before>sync_folder": LEFTOVERS,
    "open>_recover>_remove_before>sync_folder": LEFTOVERS,
    "open>_recover>settle>keep": COPY,
    "open>_recover>settle>keep>sync_folder": COPY,
}
DSYNC = {**BOTH, "O_DSYNC": None}
FSYNC = {
    **BOTH,
    "append>append>_put": None,
    "append>append>_seal>_put": None,
    "compact>rebase>_seal>_put": REBASED,
    "close>seal>_seal>_put": GOODBYE,
}
CASES = [(OPTIONS, *case) for case in DSYNC.items()] + [(SYNCED, *case) for case in FSYNC.items()]


@pytest.mark.parametrize(("options", "sites"), [(OPTIONS, DSYNC), (SYNCED, FSYNC)], ids=["dsync", "fsync"])
def test_nothing_acknowledged_is_lost_in_any_state_that_survives(options, sites, full, tally):
    search = Search(options, samples=240 if full else 6)
    assert list(search) == []
    tally("simulated disk states, log", search.states)
    assert search.states > (4000 if full else 700)
    assert search.sites == set(sites)


@pytest.mark.parametrize(
    ("options", "site", "redundant"), CASES, ids=[f"{options.sync}-{site}" for options, site, _ in CASES]
)
def test_a_sync_left_out_is_noticed_or_known_to_be_redundant(options, site, redundant, full, tally):
    size = {"samples": 6, "stride": 1 if full else 4} if redundant else {"samples": 54}
    search = Search(options, without=site, **size)
    found = next(iter(search), None)
    tally("simulated disk states, a sync left out", search.states)
    assert (found is None) == (redundant is not None), found


def _without_draft(disk, folder, number, parts):
    target = folder / name(number)
    with opened(disk, target, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as descriptor:
        for part in parts:
            write_all(disk, descriptor, part)
        disk.fsync(descriptor)
    sync_folder(disk, folder)
    return target


def test_a_segment_written_under_its_own_name_is_noticed(monkeypatch):
    monkeypatch.setattr(writer, "create", _without_draft)
    assert next(iter(Search(OPTIONS)), None)


def test_a_compaction_that_removes_first_is_noticed(monkeypatch):
    def rebase(self, entries):
        _remove_before(self._disk, self.folder, self.number + 1)
        return real(self, entries)

    real = writer.Writer.rebase
    monkeypatch.setattr(writer.Writer, "rebase", rebase)
    assert next(iter(Search(OPTIONS)), None)


def test_a_writer_that_goes_on_after_a_failed_sync_is_noticed(monkeypatch):
    def put(self, data):
        try:
            real(self, data)
        except OSError:
            self._durable = self._point.sequence

    real = writer.Writer._put
    monkeypatch.setattr(writer.Writer, "_put", put)
    assert next(iter(Search(OPTIONS)), None)
