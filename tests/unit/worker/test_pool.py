"""However a task ends, it ends as a value, and nothing of it is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid

import pytest

from tests.support.users import PATHS
from tests.unit.worker.marked_pool import MARK, ROOT, MarkedPool, gone, marked
from tezzeret_cli.errors import WorkerError
from tezzeret_cli.worker import pool
from tezzeret_cli.worker.pool import WorkerPool
from tezzeret_cli.worker.task import (
    BUILDER,
    Cancelled,
    Crashed,
    OutOfMemory,
    Priority,
    Raised,
    Returned,
    TaskEnded,
    Template,
    TimedOut,
    TooManyProcesses,
)


@pytest.fixture
def bench(tmp_path):
    bench = MarkedPool(tmp_path)
    with bench.pool:
        yield bench
    assert gone(bench.mark), "a process is left"


@pytest.mark.parametrize("fresh", [False, True], ids=["forked", "fresh"])
def test_a_task_answers_and_tells_its_stages(bench, fresh):
    end, stages = bench.run("answers", b"me", fresh=fresh)
    assert end.ending == Returned(b"answer to me")
    assert stages == ["one", "two"]
    assert (bench.folder / "1.log").read_text() == "a line for the log\n"


def test_a_warm_process_that_does_not_get_ready_is_given_up(bench, tmp_path, monkeypatch):
    (tmp_path / "sleeps.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(pool, "STARTUP_S", 1.0)
    environment = {"PYTHONPATH": f"{PATHS}:{tmp_path}", MARK: bench.mark}
    with (
        WorkerPool({BUILDER: Template(("sleeps",), environment)}) as stuck,
        pytest.raises(WorkerError, match="was not ready after 1 s"),
    ):
        stuck.start(bench.task("answers"))
    assert gone(bench.mark)


def test_a_fresh_task_has_exactly_its_environment(bench):
    end, _ = bench.run("environment", fresh=True)
    names, folder, stdin = eval(end.ending.result)
    assert set(names) - {"LC_CTYPE"} == {"PYTHONPATH", MARK}
    assert (folder, stdin) == (str(bench.folder), os.devnull)


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ("raises", "ValueError"),
        ("raises_unshowable", "Unshowable"),
        ("raises_system_exit", "SystemExit"),
        ("raises_keyboard_interrupt", "KeyboardInterrupt"),
        ("answers_text", "ValueError"),
        ("no_such_entry", "AttributeError"),
    ],
)
def test_what_an_entry_raises_is_a_value(bench, entry, kind):
    end, _ = bench.run(entry)
    assert isinstance(end.ending, Raised)
    assert end.ending.kind == kind


def test_an_answer_over_the_limit_is_refused(bench):
    end, _ = bench.run("answers_too_much", result_bytes=1000)
    assert isinstance(end.ending, Raised)


@pytest.mark.parametrize(
    ("entry", "ending"),
    [
        ("exits_quietly", Crashed(None, 0)),
        ("exits_with_three", Crashed(None, 3)),
        ("segfaults", Crashed(signal.SIGSEGV, None)),
        ("kills_itself", Crashed(signal.SIGKILL, None)),
    ],
)
def test_a_crash_is_told_from_an_answer(bench, entry, ending):
    assert bench.run(entry)[0].ending == ending


@pytest.mark.parametrize(
    "entry", ["ignores_sigterm_and_hangs", "spins_in_c", "stops_itself", "closes_everything"]
)
def test_a_hang_ends_at_its_deadline(bench, entry):
    end, _ = bench.run(entry, timeout_s=0.5)
    assert end.ending == TimedOut(0.5)


def test_a_stage_may_have_a_shorter_deadline(bench):
    end, _ = bench.run("ignores_sigterm_and_hangs", timeout_s=30, stages={"hanging": 0.3})
    assert end.ending == TimedOut(0.3)


@pytest.mark.parametrize("entry", ["forks_60", "leaves_a_daemon"])
def test_what_a_task_leaves_running_is_ended(bench, entry):
    end, _ = bench.run(entry)
    assert isinstance(end.ending, Returned)
    assert gone(bench.mark, but=1), "more than the warm process is left"


@pytest.mark.parametrize("entry", ["eats_memory", "eats_memory_in_grandchildren"])
def test_a_tree_over_its_memory_is_stopped(bench, entry):
    end, _ = bench.run(entry, memory_bytes=128 << 20)
    assert isinstance(end.ending, OutOfMemory)
    assert end.ending.limit_bytes == 128 << 20 <= end.ending.peak_bytes


def test_a_tree_of_too_many_processes_is_ended(bench):
    end, _ = bench.run("forks_200_and_waits", timeout_s=60)
    assert isinstance(end.ending, TooManyProcesses)
    assert end.ending.count > end.ending.limit
    assert gone(bench.mark, but=1)


@pytest.mark.parametrize(
    ("priority", "niceness", "policy"),
    [(Priority.ORDINARY, 10, os.SCHED_OTHER), (Priority.YIELDING, 19, os.SCHED_IDLE)],
)
def test_a_task_its_session_and_what_it_starts_give_way_to_others(bench, priority, niceness, policy):
    end, _ = bench.run("tells_its_niceness", priority=priority)
    own, of_child, *of_session = map(int, end.ending.result.split())
    assert own == max(os.nice(0), niceness)
    assert of_child == policy
    assert of_session in ([], [niceness])


def test_output_is_cut_off_and_never_blocks(bench):
    end, _ = bench.run("shouts")
    assert end.ending == Returned(b"hoarse")
    size = (bench.folder / "1.log").stat().st_size
    assert 8 << 20 <= size < 9 << 20


def test_garbage_on_every_descriptor_is_not_believed(bench):
    end, _ = bench.run("writes_garbage")
    assert isinstance(end.ending, Raised | Crashed)
    assert bench.run("answers")[0].ending == Returned(b"answer to x")


def test_tasks_run_side_by_side(bench):
    started = time.monotonic()
    for _ in range(6):
        bench.pool.start(bench.task("slow", b"0.5"))
    ended = []
    while len(ended) < 6:
        ended += [event for event in bench.pool.wait(1) if isinstance(event, TaskEnded)]
    assert time.monotonic() - started < 2.5
    assert {event.ending for event in ended} == {Returned(b"slow")}


def test_cancelling_ends_everything_that_runs(bench):
    for _ in range(3):
        bench.pool.start(bench.task("slow", b"60"))
    bench.pool.cancel()
    ended = []
    while len(ended) < 3:
        ended += bench.pool.wait(1)
    assert [event.ending for event in ended] == [Cancelled()] * 3


def test_a_killed_warm_process_is_replaced(bench):
    bench.run("answers")
    assert gone(bench.mark, but=1)
    (zygote,) = marked(bench.mark)
    bench.pool.start(bench.task("slow", b"60"))
    os.kill(zygote, signal.SIGKILL)
    events = []
    while not events:
        events = bench.pool.wait(1)
    assert isinstance(events[0].ending, Crashed)
    assert bench.run("answers")[0].ending == Returned(b"answer to x")


def test_a_module_that_does_not_import_is_an_error_with_its_cause(tmp_path):
    with (
        WorkerPool({BUILDER: Template(("no_such_module_at_all",), {"PYTHONPATH": str(ROOT)})}) as pool,
        pytest.raises(WorkerError, match="No module named 'no_such_module_at_all'"),
    ):
        pool.start(MarkedPool(tmp_path).task("answers"))


def test_no_process_outlives_a_killed_parent(tmp_path):
    mark = uuid.uuid4().hex
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from tests.unit.worker.marked_pool import MarkedPool\n"
        "bench = MarkedPool(Path(sys.argv[2]))\n"
        "bench.pool.start(bench.task('forks_200'))\n"
        "bench.pool.start(bench.task('ignores_sigterm_and_hangs', timeout_s=60))\n"
        "bench.pool.wait(5)\n"
        "print(bench.mark, flush=True)\n"
        "bench.pool.wait(60); bench.pool.wait(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(ROOT), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    mark = parent.stdout.readline().strip()
    assert mark
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(mark), "a process outlived its parent"
