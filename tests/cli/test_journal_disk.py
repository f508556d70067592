"""The disk under the journal dies while the real command runs: a clear message, exit code 7, and a run that
can be resumed when the disk is back."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess

import pytest

from tests.faults.power_cuts import machine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

SELECT = ["--approve", "*", *(part for name in ("BP001", "BP047", "BP049") for part in ("--select", name))]
STATUSES = {"BP001": "compiled", "BP047": "fallback", "BP049": "fallback"}


def mount(*args: str) -> None:
    if subprocess.run(["mount", *args], capture_output=True, check=False).returncode:
        pytest.skip(f"this machine does not allow: mount {' '.join(args)}")


@pytest.fixture
def device(tmp_path):
    """An ext4 filesystem in an image."""
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(machine(tmp_path / "device", "ext4"))
        except SystemExit:
            pytest.skip("no loop device with ext4 is to be had")
        yield made


@pytest.fixture
def small(tmp_path):
    """A folder with room for little."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder))
    yield folder
    while os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fail_in_the_middle(tezzeret, store, state, fail) -> str:
    """Start a compile, have ``fail`` break the journal's disk during the second job; the error."""
    arguments = ("--store", str(store), "--state", str(state))
    running = tezzeret.start("compile", *arguments, "-vv", "-j", "1", *SELECT)
    for line in running.stderr:
        if b"job 1: eager" in line:
            break
    fail()
    _, rest = running.communicate(timeout=120)
    assert running.returncode == 7, rest
    (error,) = [line for line in rest.decode().splitlines() if line.startswith("tezzeret: error: ")]
    return error


def resumed(tezzeret, store, state) -> None:
    """The run is finished, with the report of the whole, and nothing is left over."""
    arguments = ("--store", str(store), "--state", str(state))
    done = tezzeret.run("resume", *arguments, "--json", timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {job["blueprint_id"]: job["status"] for job in report["jobs"]} == STATUSES
    assert list((store / "tmp").iterdir()) == []
    assert json.loads(tezzeret.run("resume", *arguments, "--list", "--json").stdout)["runs"] == []


def test_a_full_disk(tezzeret, store, small):
    filler = small / "filler"

    def fill():
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    error = fail_in_the_middle(tezzeret, store, small / "state", fill)
    assert error.startswith(f"tezzeret: error: journal {small}/state/")
    assert error.endswith(": No space left on device; free some space and run the command again")
    filler.unlink()
    resumed(tezzeret, store, small / "state")


def test_a_device_that_dies(tezzeret, store, device):
    error = fail_in_the_middle(tezzeret, store, device.mount / "state", device.die)
    assert error.endswith(": Input/output error; check the disk and run the command again")
    dead = tezzeret.run("resume", "--store", str(store), "--state", str(device.mount / "state"))
    assert (dead.returncode, "Input/output error" in dead.stderr) == (7, True)
    device.come_back()
    resumed(tezzeret, store, device.mount / "state")


def test_a_filesystem_that_turns_read_only_after_an_error(tezzeret, store, device):
    def abort():
        mount("-o", "remount,abort", str(device.mount))

    error = fail_in_the_middle(tezzeret, store, device.mount / "state", abort)
    assert "Read-only file system; remount it writable" in error or "Input/output error" in error
    device.come_back()
    resumed(tezzeret, store, device.mount / "state")


def test_a_folder_that_vanishes(tezzeret, store, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    state = tmp_path / "state"
    state.mkdir()
    mount("--bind", str(elsewhere), str(state))
    error = fail_in_the_middle(
        tezzeret, store, state, lambda: subprocess.run(["umount", "-l", str(state)], check=True)
    )
    assert error.endswith(": No such file or directory; check the disk and run the command again")
    gone = tezzeret.run("resume", "--store", str(store), "--state", str(state))
    assert (gone.returncode, gone.stderr) == (0, f"nothing to resume on {store}\n")
    mount("--bind", str(elsewhere), str(state))
    try:
        resumed(tezzeret, store, state)
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


@pytest.mark.parametrize("command", ["compile", "resume"])
def test_a_read_only_disk_refuses_before_anything_is_done(tezzeret, store, device, command):
    state = device.mount / "state"
    arguments = ("--store", str(store), "--state", str(state))
    running = tezzeret.start("compile", *arguments, "-vv", "-j", "1", *SELECT)
    for line in running.stderr:
        if b"job 1: eager" in line:
            break
    running.kill()
    running.communicate(timeout=60)
    mount("-o", "remount,ro", str(device.mount))
    flags = ("--resume", "--select", "BP001") if command == "compile" else ()
    refused = tezzeret.run(command, *arguments, *flags)
    assert refused.returncode == 7, refused.stderr
    assert "Read-only file system; remount it writable and run the command again" in refused.stderr
    listed = tezzeret.run("resume", *arguments, "--list", "--json")
    assert [run["life"] for run in json.loads(listed.stdout)["runs"]] == ["dead"]
    mount("-o", "remount,rw", str(device.mount))
    resumed(tezzeret, store, state)
