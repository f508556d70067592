"""The whole forge, killed or failed by its disk at every operation, then resumed; see ``forge_sweep``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

from tests.support.command import ROOT


def sweep(folder, fault, first=1, step=1, second=0):
    """The points of one sweep. Fails with what went wrong at the first bad one."""
    command = [sys.executable, "-m", "tests.faults.forge_sweep", str(folder)]
    done = subprocess.run(
        [*command, fault, str(first), str(step), str(second)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    points = [json.loads(line) for line in done.stdout.splitlines()]
    bad = [f"at operation {point['at']}: {point['bad']}" for point in points if "bad" in point]
    assert not bad, bad[0]
    assert done.returncode == 0, done.stderr
    return points


def endings(points):
    return Counter(point["ending"] for point in points)


@pytest.mark.parametrize("fault", ["kill", "after"])
def test_killed_at_every_operation_and_resumed_nothing_is_lost_or_done_twice(tmp_path, full, fault):
    points = sweep(tmp_path, fault, step=1 if full else 4)
    found = endings(points)
    assert found["through"] == 1
    assert found["killed"] >= (90 if full else 20)


def test_killed_again_during_the_resume(tmp_path, full):
    """``full`` is more than 4,000 pairs."""
    pairs = 0
    for second in range(1, 44) if full else (1, 9, 21, 33):
        points = sweep(tmp_path / str(second), "kill", step=1 if full else 16, second=second)
        pairs += sum(point["again"] for point in points)
    assert pairs >= (2500 if full else 8)


@pytest.mark.parametrize("for_good", ["", "+"], ids=["once", "for good"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EDQUOT"])
def test_a_disk_that_fails_at_every_operation_ends_in_a_clear_error(tmp_path, full, error, for_good):
    """What ends well all the same is the removal of what is not needed any more."""
    points = sweep(tmp_path, error + for_good, step=1 if full else 11)
    found = endings(points)
    assert found["clear"] > len(points) // 2
    assert set(found) <= {"clear", "done", "through"}


@pytest.mark.parametrize("fault", ["short", "short+"])
def test_short_writes_are_gone_on_with(tmp_path, full, fault):
    points = sweep(tmp_path, fault, step=1 if full else 11)
    assert set(endings(points)) == {"done", "through"}
