"""Every operation of a disk fails, in every way: no success after it, and nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import errno
from copy import deepcopy
from pathlib import Path

import pytest

from tests.support.disks import FailingDisk, SimulatedDisk
from tests.support.logs import History, entry, recover
from tests.support.workload import FOLDER, OPTIONS, SYNCED, Run, torn_log
from tezzeret_cli.errors import JournalError
from tezzeret_cli.wal.disk import Disk, explained
from tezzeret_cli.wal.writer import Writer


def attempt(inner: Disk, failing: FailingDisk, history: History, options, folder: Path) -> bool:
    """Run the workload; whether an error came out. Afterwards nothing may succeed on the same journal."""
    run = Run(failing, history, options, folder)
    try:
        run.run()
    except JournalError:
        if run.journal is not None:
            with pytest.raises(JournalError):
                run.journal.append([entry(b"after an error")])
            with pytest.raises(JournalError):
                run.journal.compact([b"after an error"])
            try:
                run.journal.close()
            except JournalError:
                assert failing.way == "good"
        return True
    return False


@pytest.mark.parametrize("options", [OPTIONS, SYNCED], ids=["dsync", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT], ids=["ENOSPC", "EIO", "EDQUOT"])
@pytest.mark.parametrize("way", FailingDisk.WAYS)
def test_an_error_comes_out_and_only_the_unacknowledged_is_in_doubt(way, number, options, full, tally):
    stride = 1 if full or number == errno.ENOSPC else 7
    image, start = torn_log()
    at = hits = 0
    while True:
        inner, history = SimulatedDisk(image), deepcopy(start)
        failing = FailingDisk(inner, at, number, way)
        raised = attempt(inner, failing, history, options, FOLDER)
        if failing.count <= at:
            break
        hits += failing.hit is not None
        assert raised == (failing.hit is not None and way != "short"), f"operation {at}, {failing.hit}"
        inner.reboot()
        journal, found = recover(FOLDER, inner, options)
        assert history.agrees(found), f"operation {at}, {failing.hit}"
        history.settle(found)
        history.append(journal)
        journal.close()
        assert recover(FOLDER, inner, options)[1] == history.known
        at += stride
    tally("disk errors under a journal", hits)
    assert hits * stride > (10 if way in ("short", "full") else 100)


def test_a_writer_that_forgives_itself_is_noticed(monkeypatch):
    @contextlib.contextmanager
    def working(self):
        with explained(self.folder):
            yield

    monkeypatch.setattr(Writer, "working", working)
    image, start = torn_log()
    noticed = 0
    for at in range(60):
        inner, history = SimulatedDisk(image), deepcopy(start)
        try:
            attempt(inner, FailingDisk(inner, at, errno.EIO, "once"), history, OPTIONS, FOLDER)
        except pytest.fail.Exception:
            noticed += 1
    assert noticed


@pytest.mark.parametrize("way", ["once", "good", "full"])
def test_the_same_on_real_files(tmp_path, way, full):
    at = 0
    while True:
        folder, history = tmp_path / f"{at}", History()
        failing = FailingDisk(Disk(), at, errno.ENOSPC, way)
        raised = attempt(Disk(), failing, history, OPTIONS, folder)
        if failing.count <= at:
            break
        assert raised == (failing.hit is not None)
        if not folder.exists():
            assert history.known == []
        else:
            journal, found = recover(folder)
            assert history.agrees(found)
            journal.close()
        at += 1 if full else 9


@pytest.mark.parametrize("options", [OPTIONS, SYNCED], ids=["dsync", "fsync"])
def test_a_failed_sync_that_lost_its_pages_is_not_trusted_afterwards(options):
    image, start = torn_log()
    at = 0
    while True:
        disk, history = SimulatedDisk(image, fail=at), deepcopy(start)
        raised = attempt(disk, FailingDisk(disk, -1, 0, "once"), history, options, FOLDER)
        if disk.syncs <= at:
            break
        assert raised
        disk.reboot()
        journal, found = recover(FOLDER, disk, options)
        assert history.agrees(found)
        history.settle(found)
        history.append(journal)
        assert recover(FOLDER, SimulatedDisk(disk.image(None, 0)), options)[1] == history.known
        at += 1
    assert at > 20
