"""A real process on real files, killed at random moments, over and over on the same journal."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from tests.support.logs import payload, recover
from tezzeret_cli.wal.disk import Disk
from tezzeret_cli.wal.journal import is_live
from tezzeret_cli.wal.reader import Scan

ROOT = Path(__file__).resolve().parents[2]


def test_a_killed_process_leaves_every_acknowledged_record(tmp_path, full, tally):
    rng = random.Random(7)
    folder = tmp_path / "run"
    known = 0
    rounds = 200 if full else 12
    tally("kills of a process that appends", rounds)
    for _ in range(rounds):
        command = [sys.executable, "-m", "tests.faults.child", str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
            lines = [child.stdout.readline()]
            assert is_live(folder)
            time.sleep(rng.uniform(0, 0.15))
            child.kill()
            lines += child.stdout.readlines()
        assert child.returncode == -9
        assert not is_live(folder)
        acknowledged = int(lines[-1])
        assert acknowledged > known
        journal, found = recover(folder)
        assert acknowledged <= len(found) <= acknowledged + 4
        assert found == [payload(number, 300) for number in range(len(found))]
        journal.close()
        scan = Scan(folder, Disk())
        sequences = [frame.sequence for frame in scan]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        assert scan.ending.closed
        known = len(found)
