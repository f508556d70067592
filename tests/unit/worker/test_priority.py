"""A task is timed by the turns it gets; what hangs is not spared for that."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.unit.worker.marked_pool import MarkedPool
from tezzeret_cli.worker.priority import PATIENCE, Turns
from tezzeret_cli.worker.task import Priority, TimedOut

SPIN = "import os; os.sched_setaffinity(0, {int(os.environ['CORE'])}); print(flush=True)\nwhile True: pass"
SPIN_IDLY = f"import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); {SPIN}"
SLEEP = "import time; print(flush=True); time.sleep(100)"


@pytest.fixture
def core() -> int:
    return min(os.sched_getaffinity(0))


@pytest.fixture
def start(core) -> Iterator:
    """``start(program)``: it runs, and may do so on one processor only."""
    running = []

    def begin(program: str) -> int:
        child = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            env=os.environ | {"CORE": str(core)},
        )
        running.append(child)
        assert child.stdout is not None
        child.stdout.readline()
        return child.pid

    yield begin
    for child in running:
        child.kill()
        child.wait()
        child.stdout.close()


def given(pid: int) -> float:
    """The part of half a second for which the clock is stopped for a process."""
    began = time.monotonic()
    turns = Turns(began)
    turns.look([pid], began)
    before = turns.given
    for _ in range(10):
        time.sleep(0.05)
        turns.look([pid], time.monotonic())
    return (turns.given - before) / (time.monotonic() - began)


def test_the_clock_stops_while_others_have_the_processor(start):
    start(SPIN)
    assert 0.5 < given(start(SPIN_IDLY)) <= 1 - 1 / PATIENCE


def test_a_process_that_sleeps_is_given_no_time(start):
    assert given(start(SLEEP)) < 0.1


def test_a_process_that_is_gone_is_given_no_time():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert given(gone.pid) == 0


@pytest.mark.parametrize("priority", Priority)
def test_a_task_has_longer_while_it_waits_and_not_for_ever(start, core, tmp_path, priority):
    start(SPIN)
    with MarkedPool(tmp_path) as bench:
        end, _ = bench.run("spins_on", str(core).encode(), priority=priority, timeout_s=0.6)
        assert end.ending == TimedOut(0.6)
        assert end.duration_s > 1.2
        end, _ = bench.run("ignores_sigterm_and_hangs", priority=priority, timeout_s=0.3)
        assert end.ending == TimedOut(0.3)
