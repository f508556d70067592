"""Several forges at once on one store, killed at random, until all is done.

``python -m tests.faults.forge_crowd FOLDER PROCESSES ROUNDS SEED`` prints a line of JSON per round. Each
process compiles the jobs of ``forge_sweep``, and finishes what a dead one left. In each round at least one of
them is killed. At the end each job has one bundle, and no journal has a gap.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.faults.forge_sweep import NAMES, check, finish, script
from tests.support.forging import FACTS, Simulator, forge, job, plan
from tezzeret_cli.errors import InputError, JournalLockedError, UnfinishedRunError
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.ops.resume import resume_run
from tezzeret_cli.wal.disk import Disk
from tezzeret_cli.wal.reader import Scan


def slowly(step: str, request: Any) -> tuple[Any, str]:
    time.sleep(0.003)
    return script(step, request)


def live(store: Path) -> None:
    """Compile until it succeeds, finishing what others left; another process may be quicker at that."""
    parts = forge(store, Simulator(slowly))
    while True:
        with contextlib.suppress(UnfinishedRunError):
            compile_blueprints(plan(store, [job(name) for name in NAMES], workers=2), parts)
            return
        for run in parts.runs.unfinished():
            with contextlib.suppress(JournalLockedError, InputError):
                ledger = parts.runs.reopen(run)
                if ledger is not None:
                    resume_run(parts, ledger, lambda plan: FACTS)


def start(store: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        live(store)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def play(folder: Path, processes: int, rng: random.Random) -> int:
    """One round: how many were killed before they were done."""
    store = folder / "store"
    running = [start(store) for _ in range(processes)]
    killed = 0
    for victim in rng.sample(running, rng.randint(1, processes)):
        time.sleep(rng.uniform(0, 0.06))
        os.kill(victim, signal.SIGKILL)
    for pid in running:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code in (0, -signal.SIGKILL), code
        killed += code != 0
    check(store, finish(store))
    for run in (folder / "state").glob("*/done/*"):
        scan = Scan(run, Disk())
        sequences = [frame.sequence for frame in scan]
        assert sequences == list(range(1, len(sequences) + 1)), run
        assert scan.ending.fault is None, run
    return killed


def main(root: str, processes: str, rounds: str, seed: str) -> None:
    rng = random.Random(int(seed))
    for number in range(int(rounds)):
        folder = Path(root) / str(number)
        folder.mkdir(parents=True)
        killed = play(folder, int(processes), rng)
        shutil.rmtree(folder)
        print(json.dumps({"round": number, "killed": killed}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
