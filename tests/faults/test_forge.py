"""The whole forge, killed or failed by its disk at every operation, then resumed; see ``forge_sweep``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

from tests.faults.forge_sweep import MKDIR_AGAIN
from tests.support.command import ROOT

HARMLESS = {"unlink", "rmdir", MKDIR_AGAIN}
"""What may fail without harm: the removal of what is not needed any more, and making what is there."""


def sweep(folder, fault, first=1, step=1, second=0, planted=""):
    """The points of one sweep. Without a planted bug it fails with what went wrong at the first bad one."""
    command = [sys.executable, "-m", "tests.faults.forge_sweep", str(folder)]
    done = subprocess.run(
        [*command, fault, str(first), str(step), str(second), planted],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    points = [json.loads(line) for line in done.stdout.splitlines()]
    bad = [f"at operation {point['at']}: {point['bad']}" for point in points if "bad" in point]
    assert planted or not bad, bad[0]
    assert done.returncode == (1 if bad else 0), done.stderr
    return points


def endings(points):
    return Counter(point["ending"] for point in points)


def gone_well(point):
    """The operation that failed, where the run ended well all the same."""
    return {point["operation"]} if point.get("ending") == "done" else set()


@pytest.mark.parametrize("fault", ["kill", "after"])
def test_killed_at_every_operation_and_resumed_nothing_is_lost_or_done_twice(tmp_path, full, fault, tally):
    points = sweep(tmp_path, fault, step=1 if full else 4)
    found = endings(points)
    tally("kills of a forge", found["killed"])
    assert found["through"] == 1
    assert found["killed"] >= (90 if full else 20)


def test_killed_again_during_the_resume(tmp_path, full, tally):
    """``full`` is more than 4,000 pairs."""
    pairs = 0
    for second in range(1, 111) if full else (1, 9, 21, 33):
        points = sweep(tmp_path / str(second), "kill", step=1 if full else 16, second=second)
        pairs += sum(point["again"] for point in points)
    tally("kills of a forge and of its resume, pairs", pairs)
    assert pairs >= (4000 if full else 8)


@pytest.mark.parametrize("for_good", ["", "+"], ids=["once", "for good"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EDQUOT"])
def test_a_disk_that_fails_at_every_operation_ends_in_a_clear_error(tmp_path, full, error, for_good, tally):
    points = sweep(tmp_path, error + for_good, step=1 if full else 11)
    tally("disk errors under a forge", len(points) - 1)
    assert set(endings(points)) <= {"clear", "done", "through"}
    assert set().union(*map(gone_well, points)) <= HARMLESS


@pytest.mark.parametrize("fault", ["short", "short+"])
def test_short_writes_are_gone_on_with(tmp_path, full, fault, tally):
    points = sweep(tmp_path, fault, step=1 if full else 11)
    tally("short writes of a forge", len(points) - 1)
    assert set(endings(points)) == {"done", "through"}


FOUND_BY = {
    "record_after_the_rename": "after",
    "believe_the_journal": "kill",
    "forget_what_was_staged": "after",
}


@pytest.mark.parametrize(("bug", "fault"), FOUND_BY.items())
def test_a_planted_bug_is_found(tmp_path, bug, fault):
    assert any("bad" in point for point in sweep(tmp_path, fault, planted=bug))


def test_a_job_that_ends_too_early_is_put_right_because_a_resume_looks_after_every_bundle(tmp_path):
    sweep(tmp_path, "kill", step=3, planted="end_before_the_rename")


def test_a_swallowed_error_is_seen_by_what_goes_well_all_the_same(tmp_path):
    points = sweep(tmp_path, "ENOSPC", planted="swallow_errors")
    assert any("bad" in point or gone_well(point) - HARMLESS for point in points)


@pytest.mark.parametrize("processes", [2, 4])
def test_several_forges_at_once_killed_at_random_do_nothing_twice(tmp_path, full, processes, tally):
    rounds = 1000 if full else 12
    command = [sys.executable, "-m", "tests.faults.forge_crowd", str(tmp_path), str(processes)]
    done = subprocess.run([*command, str(rounds), "7"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    played = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(played) == rounds
    tally(f"rounds of {processes} forges at once", rounds)
    tally(f"kills in rounds of {processes} forges", sum(game["killed"] for game in played))
    assert sum(game["killed"] for game in played) >= rounds // 2
