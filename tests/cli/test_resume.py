"""A run that died is finished by ``tezzeret resume``, through the real command and real workers."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.power_cuts import machine
from tests.support.command import COMMAND

# One that compiles in seconds, and the two stressors that are seconds too.
SELECT = ["--approve", "*", *(part for name in ("BP001", "BP047", "BP049") for part in ("--select", name))]
STATUSES = {"BP001": "compiled", "BP047": "fallback", "BP049": "fallback"}


def killed_after(tezzeret, store, marker: bytes) -> str:
    """Start a compile, kill it when it says ``marker``, and give back its run's id."""
    running = tezzeret.start("compile", "--store", str(store), "-vv", "-j", "1", *SELECT)
    for line in running.stderr:
        if marker in line:
            break
    running.kill()
    running.communicate(timeout=60)
    assert running.returncode == -signal.SIGKILL
    listed = json.loads(tezzeret.run("resume", "--store", str(store), "--list", "--json").stdout)
    (run,) = listed["runs"]
    assert run["life"] == "dead"
    return run["run"]


def statuses(done) -> dict[str, str]:
    return {job["blueprint_id"]: job["status"] for job in json.loads(done.stdout)["jobs"]}


def test_a_killed_run_is_finished_with_the_report_of_the_whole(tezzeret, store):
    run = killed_after(tezzeret, store, b"job 1: eager")
    refused = tezzeret.run("compile", "--store", str(store), *SELECT)
    assert refused.returncode == 5
    assert f"run {run} did not end" in refused.stderr
    assert f"tezzeret resume --store {store}" in refused.stderr

    looked = tezzeret.run("resume", "--store", str(store), "--dry-run")
    assert looked.returncode == 0
    assert "1 of 3 done, to do: BP047 BP049" in looked.stderr

    done = tezzeret.run("resume", "--store", str(store), "--json", timeout=300)
    assert done.returncode == 0, done.stderr
    assert statuses(done) == STATUSES
    report = json.loads(done.stdout)
    assert (report["command"], report["run"], report["interrupted"]) == ("resume", run, False)
    assert report["recovered"] == ["BP047 was under way and is done again"]
    assert list((store / "tmp").iterdir()) == []

    again = tezzeret.run("resume", "--store", str(store))
    assert (again.returncode, again.stderr) == (0, f"nothing to resume on {store}\n")


def test_compile_resumes_by_a_flag_and_goes_on(tezzeret, store):
    killed_after(tezzeret, store, b"job 0: eager")
    done = tezzeret.run("compile", "--store", str(store), "--resume", "--json", *SELECT, timeout=300)
    assert done.returncode == 0, done.stderr
    assert set(statuses(done).values()) == {"cached"}


def test_a_run_may_be_given_up(tezzeret, store):
    run = killed_after(tezzeret, store, b"job 0: eager")
    done = tezzeret.run("resume", "--store", str(store), "--abandon", run)
    assert (done.returncode, done.stderr) == (0, f"run {run} was given up\n")
    assert tezzeret.run("compile", "--store", str(store), "--select", "BP001").returncode == 0


def test_giving_up_a_run_is_reported_as_json_and_leaves_nothing_behind(tezzeret, store):
    run = killed_after(tezzeret, store, b"job 0: eager")
    scratch = tezzeret.home / "cache" / "tezzeret" / "scratch" / run
    staged = store / "tmp" / f"run-{run}"
    assert scratch.is_dir()
    assert staged.is_dir()
    done = tezzeret.run("resume", "--store", str(store), "--abandon", run, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"schema": 1, "abandoned": run, "journal_kept_in": None}
    assert not scratch.exists()
    assert not staged.exists()


def test_nothing_to_resume_has_the_report_of_no_jobs(tezzeret, store):
    assert tezzeret.run("compile", "--store", str(store), "--select", "BP001").returncode == 0
    report = json.loads(tezzeret.run("resume", "--store", str(store), "--json").stdout)
    counts = dict.fromkeys(("compiled", "cached", "fallback", "failed", "skipped"), 0)
    assert (report["jobs"], report["counts"], report["run"]) == ([], counts, None)


def two_dead_runs(tezzeret, store) -> list[str]:
    """Two runs of one job each on the same store, both killed."""
    arguments = ("--store", str(store), "-vv", "--approve", "*", "--select")
    both = []
    for name in ("BP001", "BP049"):
        running = tezzeret.start("compile", *arguments, name)
        both.append(running)
        for line in running.stderr:
            if b"job 0: " in line:
                break
        running.send_signal(signal.SIGSTOP)  # at once: a job may take less than a second
    for running in both:
        running.kill()
        running.communicate(timeout=60)
    listed = json.loads(tezzeret.run("resume", "--store", str(store), "--list", "--json").stdout)
    assert [run["life"] for run in listed["runs"]] == ["dead", "dead"]
    return [run["run"] for run in listed["runs"]]


def test_several_dead_runs_have_one_report(tezzeret, store):
    two_dead_runs(tezzeret, store)
    report = json.loads(tezzeret.run("resume", "--store", str(store), "--json", timeout=300).stdout)
    assert sorted(job["blueprint_id"] for job in report["jobs"]) == ["BP001", "BP049"]
    assert (report["run"], sum(report["counts"].values()), len(report["recovered"])) == (None, 2, 2)


def test_each_of_several_runs_is_counted_by_itself_on_a_terminal(tezzeret, store):
    two_dead_runs(tezzeret, store)
    shown, status = on_a_terminal(tezzeret, "resume", "--store", str(store))
    assert status == 0, shown
    assert "1 done" in shown
    assert "2 done" not in shown
    after_the_first = shown.partition(", in ")[2]
    assert "all jobs" in after_the_first


def on_a_terminal(tezzeret, *args: str) -> tuple[str, int]:
    """What the command shows on a terminal, and its exit status."""
    mine, its = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *args],
        env=tezzeret.environment | {"TERM": "xterm", "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
    ) as running:
        os.close(its)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(mine, 65536):
                shown += part
    os.close(mine)
    return shown.decode(errors="replace"), running.returncode


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(("signal_name", "status"), [("TERM", 143), ("INT", 130)])
def test_a_signal_before_the_first_job_has_its_own_exit_code(tezzeret, store, signal_name, status):
    """It comes with the first sync, when the store is made."""
    inject = f"inject=fsync:signal={signal_name}:when=1"
    done = subprocess.run(
        [
            *("strace", "-o", "/dev/null", "-e", "trace=fsync", "-e", inject),
            *(*COMMAND, "compile", "--store", str(store), "--select", "BP001"),
        ],
        env=tezzeret.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (status, "tezzeret: error: interrupted\n")


def test_an_interrupted_run_is_resumed_too(tezzeret, store):
    running = tezzeret.start("compile", "--store", str(store), "-vv", "-j", "1", *SELECT)
    for line in running.stderr:
        if b"[1/3]" in line:
            break
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.splitlines()[-1].endswith(b"; interrupted: tezzeret resume on this store does the rest")
    done = tezzeret.run("resume", "--store", str(store), "--json", timeout=300)
    assert statuses(done) == STATUSES


def test_a_live_run_is_listed_and_left_alone(tezzeret, store):
    running = tezzeret.start(
        "compile", "--store", str(store), "-vv", "--select", "BP046", "--approve", "BP046"
    )
    for line in running.stderr:
        if b"job 0: eager" in line:
            break
    listed = json.loads(tezzeret.run("resume", "--store", str(store), "--list", "--json").stdout)
    assert [run["life"] for run in listed["runs"]] == ["live"]
    other = tezzeret.run("resume", "--store", str(store))
    assert (other.returncode, "is going on" in other.stderr) == (0, True)
    abandoned = tezzeret.run("resume", "--store", str(store), "--abandon", listed["runs"][0]["run"])
    assert abandoned.returncode == 5
    beside = tezzeret.run("compile", "--store", str(store), "--select", "BP001", timeout=300)
    assert beside.returncode == 0, beside.stderr
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)


def test_two_runs_at_once_do_nothing_twice(tezzeret, store):
    commands = [tezzeret.start("compile", "--store", str(store), "--json", *SELECT) for _ in range(2)]
    found = []
    for command in commands:
        out, err = command.communicate(timeout=300)
        assert command.returncode == 0, err
        found += json.loads(out)["jobs"]
    made = sorted(job["blueprint_id"] for job in found if job["status"] != "cached")
    assert made == sorted(STATUSES)
    assert len([path for path in store.glob("bundles/*/*") if path.is_dir()]) == 3


def test_without_its_journal_it_says_that_compiling_again_is_the_way(tezzeret, store):
    killed_after(tezzeret, store, b"job 0: eager")
    shutil.rmtree(tezzeret.home / "state")
    done = tezzeret.run("resume", "--store", str(store))
    assert done.returncode == 0
    assert "its journal is gone; compile again instead" in done.stderr
    assert tezzeret.run("compile", "--store", str(store), *SELECT, timeout=300).returncode == 0


def test_a_damaged_journal_is_refused_and_can_be_set_aside(tezzeret, store):
    run = killed_after(tezzeret, store, b"[1/3]")
    (segment,) = tezzeret.home.glob(f"state/tezzeret/*/open/{run}/*.wal")
    data = bytearray(segment.read_bytes())
    data[700] ^= 1
    segment.write_bytes(bytes(data))
    done = tezzeret.run("resume", "--store", str(store))
    assert done.returncode == 6
    assert segment.name in done.stderr
    assert "Traceback" not in done.stderr
    aside = tezzeret.run("resume", "--store", str(store), "--abandon", run)
    assert (aside.returncode, "its journal is kept in" in aside.stderr) == (0, True)


def test_a_place_without_a_store_is_a_clear_error(tezzeret, tmp_path):
    done = tezzeret.run("resume", "--store", str(tmp_path / "nothing"))
    assert (done.returncode, "no store is there" in done.stderr) == (2, True)
    assert not (tmp_path / "nothing").exists()


def test_a_store_that_is_full_can_be_resumed_when_there_is_room(tezzeret, small_disk):
    store = small_disk("48k")
    done = tezzeret.run("compile", "--store", str(store), "--select", "BP005", timeout=300)
    assert done.returncode == 2, done.stderr
    assert "No space left on device; free some space" in done.stderr
    assert list(store.glob("bundles/*/*")) == []
    subprocess.run(["mount", "-o", "remount,size=20m", str(store)], check=True)
    done = tezzeret.run("resume", "--store", str(store), "--json", timeout=300)
    assert done.returncode == 0, done.stderr
    assert statuses(done) == {"BP005": "compiled"}


DURABLE = ("fsync", "write", "renameat2", "mkdir", "unlink", "link")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("syscall", DURABLE)
def test_the_real_command_killed_at_durable_syscalls(tezzeret, tmp_path, syscall, full, tally):
    """The n-th call of each kind, by the process that holds the journal; full: every one."""
    number = 1 if full else {"fsync": 7, "write": 6}.get(syscall, 1)
    environment = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    while True:
        store = tmp_path / f"{syscall}-{number}" / "store"
        store.parent.mkdir()
        inject = f"inject={syscall}:signal=KILL:when={number}"
        done = subprocess.run(
            [
                *("strace", "-o", "/dev/null", "-e", f"trace={syscall}", "-e", inject),
                *(*COMMAND, "compile", "--store", str(store), "--select", "BP001", "-q"),
            ],
            env=tezzeret.environment | environment,
            capture_output=True,
            check=False,
        )
        assert done.returncode in (0, 137, -9), done.stderr
        resumed = tezzeret.run("compile", "--store", str(store), "--resume", "--select", "BP001", "--json")
        assert resumed.returncode == 0, resumed.stderr
        assert set(statuses(resumed).values()) <= {"compiled", "cached"}
        (bundle,) = [path for path in store.glob("bundles/*/*") if path.is_dir()]
        assert (bundle / "manifest.json").is_file()
        assert [path.name for path in (store / "tmp").iterdir()] == []
        tally("kills of the real command", done.returncode != 0)
        if done.returncode == 0 or not full:
            return
        number += 1


def test_every_process_of_a_killed_run_is_gone_before_it_is_resumed(tezzeret, store):
    """A child that outlived the forge would hold neither its locks nor its folders."""
    killed_after(tezzeret, store, b"job 0: eager")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = [
            pid
            for pid in map(str, filter(str.isdigit, os.listdir("/proc")))
            if str(store) in _command_line(pid) and sys.executable in _command_line(pid)
        ]
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(f"still running: {left}")


def _command_line(pid: str) -> str:
    try:
        return Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def lost_in_the_middle(tezzeret, store, lose) -> str:
    """Start a compile, have ``lose`` take its store away during the second job; what it said at the end."""
    running = tezzeret.start("compile", "--store", str(store), "-vv", "-j", "1", *SELECT)
    for line in running.stderr:
        if b"job 1: eager" in line:
            break
    lose()
    _, rest = running.communicate(timeout=120)
    assert running.returncode == 2, rest
    return rest.decode()


def test_a_read_only_store_is_a_clear_error_and_nothing_is_on_record(tezzeret, mounted):
    assert tezzeret.run("compile", "--store", str(mounted), "--select", "BP001", timeout=300).returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    done = tezzeret.run("compile", "--store", str(mounted), "--select", "BP047", "--approve", "BP047")
    assert done.returncode == 2
    assert "Read-only file system; remount it writable, or give another --store" in done.stderr
    assert "nothing to resume" in tezzeret.run("resume", "--store", str(mounted)).stderr
    unchanged = tezzeret.run("compile", "--store", str(mounted), "--select", "BP001", "--dry-run", "--json")
    assert statuses(unchanged) == {"BP001": "cached"}


@pytest.mark.skipif(os.geteuid() != 0, reason="loop images need root")
def test_a_store_whose_device_dies_can_be_resumed_when_it_is_back(tezzeret, tmp_path):
    try:
        with machine(tmp_path / "image", "ext4") as device:
            store = device.mount / "store"
            said = lost_in_the_middle(tezzeret, store, device.die)
            assert f"store {store}: Input/output error; check that the store is mounted and writable" in said
            device.come_back()
            done = tezzeret.run("resume", "--store", str(store), "--json", timeout=300)
            assert done.returncode == 0, done.stderr
            assert statuses(done) == STATUSES
    except SystemExit:
        pytest.skip("no loop device with ext4 is to be had")


def test_a_store_whose_mount_vanishes_can_be_resumed_when_it_is_back(tezzeret, mounted, tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    subprocess.run(["mount", "--move", str(mounted), str(real)], check=False)
    if not os.path.ismount(real):
        pytest.skip("this machine does not allow moving mounts")
    subprocess.run(["mount", "--bind", str(real), str(mounted)], check=True)
    try:

        def lose():
            subprocess.run(["umount", "-l", str(mounted)], check=True)

        said = lost_in_the_middle(tezzeret, mounted, lose)
        assert f"store {mounted}: No such file or directory; check that the store is mounted" in said
        nothing = tezzeret.run("resume", "--store", str(mounted))
        assert (nothing.returncode, "no store is there" in nothing.stderr) == (2, True)
        subprocess.run(["mount", "--bind", str(real), str(mounted)], check=True)
        done = tezzeret.run("resume", "--store", str(mounted), "--json", timeout=300)
        assert done.returncode == 0, done.stderr
        assert statuses(done) == STATUSES
    finally:
        subprocess.run(["umount", "-l", str(real)], check=True)
