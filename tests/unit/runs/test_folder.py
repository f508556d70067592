"""Which runs are alive, dead and done, found by locks and never by process ids."""

from __future__ import annotations

import fcntl
import os
import time

import pytest

from tests.support.forging import job, plan
from tezzeret_cli.errors import InputError, JournalError, JournalLockedError
from tezzeret_cli.model.events import NullObserver
from tezzeret_cli.ops.unfinished import Life, abandon, summaries, tidy
from tezzeret_cli.runs import folder as folders
from tezzeret_cli.runs.claims import Claims
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.runs.mounts import network_filesystem


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path / "state", "a-store")


@pytest.fixture
def begin(runs, store):
    def make(**changes):
        return runs.begin(plan(store, [job("BP001"), job("BP002")], **changes))

    return make


def lives(runs):
    return {summary.run: summary.life for summary in summaries(runs)}


def test_a_run_is_alive_while_its_ledger_is_open_then_dead_then_done(runs, begin):
    ledger = begin()
    assert lives(runs) == {ledger.run_id: Life.LIVE}
    assert (runs.live(), runs.unfinished()) == ([ledger.run_id], [])
    with pytest.raises(JournalLockedError):
        runs.reopen(ledger.run_id)
    ledger.close()
    assert lives(runs) == {ledger.run_id: Life.DEAD}
    again = runs.reopen(ledger.run_id)
    again.ended({"compiled": 2})
    runs.put_away(again)
    assert lives(runs) == {}
    assert runs.knows(ledger.run_id)


def test_what_was_put_on_record_is_there_again(runs, begin):
    ledger = begin()
    part = ledger.job(1, "k")
    ledger.close()
    state = runs.peek(ledger.run_id)
    assert state == ledger.state
    assert [open_job.number for open_job in state.open.values()] == [1]
    again = runs.reopen(ledger.run_id)
    (txn,) = again.state.open
    again.open_job(txn).lost("died")
    assert again.state.open == {}
    again.close()
    assert part is not None


def test_a_killed_process_leaves_its_run_dead(runs, store):
    pid = os.fork()
    if pid == 0:
        runs.begin(plan(store, [job("BP001")]))
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert list(lives(runs).values()) == [Life.DEAD]


def test_a_run_that_died_before_its_plan_was_on_record_is_put_away(runs, begin):
    begin().close()
    (run,) = runs.unfinished()
    (runs.folder(run) / "0000000001.wal").unlink()
    assert lives(runs) == {run: Life.ENDED}
    tidy(runs, 1e9, NullObserver(), runs.root)
    assert lives(runs) == {}


def test_an_abandoned_run_says_so_and_is_done(runs, begin):
    ledger = begin()
    ledger.close()
    assert abandon(runs, ledger.run_id, "by the operator", runs.root) is None
    assert lives(runs) == {}
    with pytest.raises(InputError, match="no such unfinished run"):
        abandon(runs, ledger.run_id, "again", runs.root)


def test_a_run_past_its_time_is_abandoned_and_a_clock_that_jumped_back_changes_nothing(runs, begin):
    ledger = begin()
    ledger.close()
    assert ledger.state.plan.created > time.time()
    tidy(runs, 10.0, NullObserver(), runs.root)
    assert lives(runs) == {ledger.run_id: Life.DEAD}
    tidy(runs, -1.0, NullObserver(), runs.root)
    assert lives(runs) == {}


def test_a_damaged_journal_is_set_aside_whole(runs, begin):
    ledger = begin()
    ledger.job(0, "k")
    ledger.job(1, "k")
    ledger.close()
    (segment,) = runs.folder(ledger.run_id).glob("*.wal")
    data = bytearray(segment.read_bytes())
    data[600] ^= 1
    segment.write_bytes(bytes(data))
    assert lives(runs) == {ledger.run_id: Life.DAMAGED}
    kept = abandon(runs, ledger.run_id, "damaged", runs.root)
    assert kept.endswith(f"damaged/{ledger.run_id}")
    assert (runs.root / "damaged" / ledger.run_id / segment.name).read_bytes() == data


def test_only_the_newest_ended_runs_are_kept(runs, begin, monkeypatch):
    monkeypatch.setattr(folders, "KEPT_RUNS", 2)
    ended = []
    for _ in range(4):
        ledger = begin()
        ledger.ended({})
        runs.put_away(ledger)
        ended.append(ledger.run_id)
    begin().close()
    assert len(list((runs.root / "done").iterdir())) == 2


def test_a_journal_on_a_network_mount_is_refused_unless_allowed(runs, begin, monkeypatch, tmp_path):
    monkeypatch.setattr(folders, "network_filesystem", lambda path: "nfs4")
    with pytest.raises(JournalError, match=r"network filesystem \(nfs4\)"):
        begin()
    monkeypatch.setattr(runs, "_on_network", True)
    begin().close()


def test_the_filesystem_of_a_folder_is_the_innermost_mounts(tmp_path):
    table = tmp_path / "mountinfo"
    deep = tmp_path / "a b"
    deep.mkdir()
    point = str(deep).replace(" ", r"\040")
    table.write_text(
        "1 0 8:1 / / rw - ext4 /dev/x rw\n"
        f"2 1 0:9 / {point} rw shared:1 - nfs4 host:/x rw\n"
        f"3 1 0:9 / {tmp_path}/other rw - cifs //h/x rw\n"
    )
    assert network_filesystem(deep, table) == "nfs4"
    assert network_filesystem(deep / "below", table) == "nfs4"
    assert network_filesystem(tmp_path, table) is None


def test_a_claim_is_held_by_one_and_free_again_when_released(tmp_path):
    first, second = Claims(tmp_path), Claims(tmp_path)
    held = first.claim("00" * 32)
    assert held is not None
    assert first.claim("00" * 32) is None
    assert second.claim("00" * 32) is None
    assert second.claim("01" * 32) is not None
    held.release()
    assert second.claim("00" * 32) is not None


def test_jobs_of_one_run_whose_keys_share_a_lock_do_not_wait_for_each_other(tmp_path):
    first, second = Claims(tmp_path), Claims(tmp_path)
    one, other = "00" * 32, "00000000" + "01" * 28
    held = [first.claim(one), first.claim(other)]
    assert None not in held
    held[0].release()
    assert second.claim(one) is None
    held[1].release()
    assert second.claim(other) is not None


def test_asking_whether_a_run_lives_makes_nothing_and_keeps_nobody_out(runs, begin):
    ledger = begin()
    ledger.close()
    folder = runs.folder(ledger.run_id)
    held = os.open(folder / "journal.lock", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_SH)
    assert runs.unfinished() == [ledger.run_id]
    os.close(held)
    again = runs.reopen(ledger.run_id)
    again.ended({})
    runs.put_away(again)
    assert runs._is_live(ledger.run_id)
    assert lives(runs) == {}
