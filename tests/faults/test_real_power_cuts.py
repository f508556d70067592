"""Power cuts on real filesystems in loop images; see ``power_cuts``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.faults.power_cuts import UNAVAILABLE
from tests.support.command import ROOT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loop images need root")


def cut(folder, kind, step, second=0, planted=""):
    """The points of one sweep; the test is skipped where the filesystem is not to be had."""
    command = [sys.executable, "-m", "tests.faults.power_cuts", str(folder), kind]
    done = subprocess.run(
        [*command, "1", str(step), str(second), planted],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == UNAVAILABLE:
        pytest.skip(done.stderr.strip())
    points = [json.loads(line) for line in done.stdout.splitlines()]
    bad = [f"at operation {point['at']}: {point['bad']}" for point in points if "bad" in point]
    assert planted or not bad, bad[0]
    assert done.returncode == (1 if bad else 0), done.stderr
    return points


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_run_whose_power_is_cut_at_every_operation_is_resumed(tmp_path, full, kind, tally):
    points = cut(tmp_path, kind, step=1 if full else 12)
    tally(f"power cuts on {kind}", len(points))
    assert Counter(point["ending"] for point in points)["killed"] >= (150 if full else 12)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_killed_resumed_and_killed_again_before_the_power_is_cut(tmp_path, full, kind, tally):
    for second in range(1, 100, 3) if full else (7, 31):
        points = cut(tmp_path / str(second), kind, step=1 if full else 24, second=second)
        tally(f"power cuts on {kind} during a resume", len(points))


def test_a_bundle_that_is_renamed_before_its_files_are_durable_is_noticed(tmp_path):
    """The sync of the folder after the rename has no such test: on both filesystems the next sync of any
    file, the journal's, makes the rename durable too."""
    assert any("bad" in point for point in cut(tmp_path, "ext4", step=1, planted="unsynced_files"))
