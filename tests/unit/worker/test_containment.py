"""What a task is held by: as root, as an ordinary user, and where the kernel gives less.

Each test starts a pool in a process of its own, as the user that it is about.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.users import NOBODY, PATHS, python_for_all
from tests.unit.worker.marked_pool import ROOT, marked
from tezzeret_cli.files import lock_folder
from tezzeret_cli.host.memory_group import PREFIX, NoGroups, find_place
from tezzeret_cli.worker.namespaces import Spaces, available

USERS = ("root", "ordinary")


class Outside:
    """A folder for a user, and pools started as that user."""

    def __init__(self, user: str, folder: Path) -> None:
        self.folder = folder
        self._options: dict = {}
        self._prefix: list[str] = []
        self._python = sys.executable
        if user == "ordinary":
            self._python = python_for_all()
            self._options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            os.chown(folder, NOBODY, NOBODY)
        if user == "root without rights":
            self._prefix = ["setpriv", "--bounding-set=-sys_admin", "--"]

    def start(self, entry: str) -> subprocess.Popen[str]:
        """A pool that runs ``entry``."""
        command = [
            *self._prefix,
            self._python,
            "-m",
            "tests.unit.worker.marked_pool",
            str(self.folder),
            entry,
        ]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": PATHS}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment, **self._options
        )

    def run(self, entry: str) -> dict:
        """What it said: ``mark``, ``lacking`` and ``ending``. Nothing of it may be left."""
        with self.start(entry) as forge:
            said = {"lacking": []}
            for line in forge.stdout:
                said |= json.loads(line)
        assert forge.returncode == 0
        assert marked(said["mark"]) == []
        return said


@pytest.fixture
def outside() -> Iterator:
    folders = []

    def make(user: str) -> Outside:
        if user != "root" and os.geteuid() != 0:
            pytest.skip("only root can become somebody else")
        if user == "root without rights" and shutil.which("setpriv") is None:
            pytest.skip("there is no setpriv")
        folders.append(Path(tempfile.mkdtemp(prefix="tezzeret-test-")))
        return Outside(user, folders[-1])

    yield make
    for folder in folders:
        shutil.rmtree(folder)


def full(said: dict, *parts: str) -> None:
    """Skip where this machine does not give what the test is about."""
    for line in said["lacking"]:
        if any(part in line for part in parts):
            pytest.skip(line)


@pytest.mark.parametrize("user", USERS)
def test_a_task_is_its_user_alone_with_its_processes_and_without_a_network(outside, user):
    said = outside(user).run("tells_who_it_is")
    full(said, "process namespaces", "network namespaces")
    found = json.loads(said["ending"]["result"])
    own = NOBODY if user == "ordinary" else os.geteuid()
    assert found["user"] == [own] * 3
    assert found["numbers"] == [2, 1, 2]
    assert found["seen"] == 2
    assert found["networks"] == ["lo"]
    assert found["reaped"]
    if user == "ordinary":
        assert found["group"] == [NOBODY] * 3
        assert found["capabilities"] == 0
        assert found["name"] == "nobody"


@pytest.mark.parametrize("user", USERS)
def test_daemons_end_with_a_guardian_that_is_killed(outside, user):
    """What no look through the process tree can give: nobody is left to look."""
    with outside(user).start("leaves_daemons_and_waits") as forge:
        mark = json.loads(forge.stdout.readline())["mark"]
        _until(lambda: len(marked(mark)) >= 7)
        (zygote,) = psutil.Process(forge.pid).children()
        (guardian,) = zygote.children()
        namespace = Path(f"/proc/{guardian.children()[0].pid}/ns/pid")
        if os.readlink(namespace) == os.readlink("/proc/self/ns/pid"):
            forge.send_signal(signal.SIGINT)
            pytest.skip("this machine gives no namespaces of processes")
        guardian.kill()
        said = [json.loads(line) for line in forge.stdout]
        assert said[-1]["ending"] == {"type": "Crashed", "signal": None, "status": None}
    assert marked(mark) == []


def test_what_is_unmounted_outside_is_gone_for_a_task_too(outside, tmp_path):
    """A task that held on to it would keep the device busy."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    with contextlib.ExitStack() as mounted:
        for folder in (tmp_path, disk):
            done = subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(done.stderr)
            mounted.callback(subprocess.run, ["umount", folder], capture_output=True)
            subprocess.run(["mount", "--make-shared", folder], check=True)
            disk.mkdir(exist_ok=True)
        with outside("root").start("leaves_daemons_and_waits") as forge:
            mark = json.loads(forge.stdout.readline())["mark"]
            _until(lambda: len(marked(mark)) >= 7)
            (zygote,) = psutil.Process(forge.pid).children()
            (guardian,) = zygote.children()
            (init,) = guardian.children()
            mounts = Path(f"/proc/{init.pid}/mounts")
            assert str(disk) in mounts.read_text()
            subprocess.run(["umount", disk], check=True)
            gone = str(disk) not in mounts.read_text()
            forge.send_signal(signal.SIGINT)
        assert gone


@pytest.mark.parametrize("user", USERS)
def test_a_task_cannot_end_what_it_is_held_by(outside, user):
    said = outside(user).run("kills_its_parent")
    full(said, "process namespaces")
    assert said["ending"]["result"] == "still here"


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("entry", ["segfaults", "kills_itself", "exits_with_three"])
def test_how_a_child_ended_comes_through_its_namespace(outside, user, entry):
    ending = {"segfaults": (11, None), "kills_itself": (9, None), "exits_with_three": (None, 3)}[entry]
    said = outside(user).run(entry)
    assert said["ending"] == {"type": "Crashed", "signal": ending[0], "status": ending[1]}


def test_without_the_right_to_namespaces_daemons_are_found_one_by_one(outside):
    """Root in most containers."""
    said = outside("root without rights").run("leaves_a_daemon")
    assert said["ending"]["result"] == "left"
    assert [line.split(" (")[0] for line in said["lacking"] if "namespaces" in line] == [
        "no process namespaces",
        "no network namespaces",
    ]
    assert all("Operation not permitted" in line for line in said["lacking"] if "namespaces" in line)


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("entry", ["eats_memory", "eats_memory_in_grandchildren"])
def test_memory_is_held_with_a_group_and_without_one(outside, user, entry):
    said = outside(user).run(entry)
    grouped = not any("memory cgroups" in line for line in said["lacking"])
    ending = said["ending"]
    assert ending["type"] == "OutOfMemory"
    assert ending["limit_bytes"] == 128 << 20 <= ending["peak_bytes"]
    assert ending["by_kernel"] == grouped


@pytest.fixture
def place():
    """Where this process may make memory groups."""
    try:
        return find_place()
    except NoGroups as reason:
        pytest.skip(str(reason))


def test_a_process_that_the_kernel_ended_is_the_task_out_of_memory(outside, place):
    """Whatever the task makes of it."""
    said = outside("root").run("allocates_in_a_process_and_answers")
    assert (said["ending"]["type"], said["ending"]["by_kernel"]) == ("OutOfMemory", True)


def test_no_group_is_left_and_that_of_a_killed_forge_goes_with_the_next(outside, place):
    groups = Path(place.folder)
    before = set(groups.glob(f"{PREFIX}*"))
    outside("root").run("answers")
    assert not [group for group in set(groups.glob(f"{PREFIX}*")) - before if _is_left(group)]
    with outside("root").start("slow_for_a_minute") as forge:
        mark = json.loads(forge.stdout.readline())["mark"]
        _until(lambda: len(marked(mark)) >= 4 and _groups_of(mark, groups))
        (group,) = _groups_of(mark, groups)
        guardian = psutil.Process(forge.pid).children()[0].children()[0]
        find_place()
        assert group.exists(), "the group of a task that runs was removed"
        os.kill(guardian.pid, signal.SIGKILL)
        forge.kill()
    assert group.exists()
    _until(lambda: find_place() is not None and not group.exists())
    # The warm process is in no group, and gives way to others when it ends, too.
    _until(lambda: not marked(mark))


def test_what_is_available_can_be_had():
    """And costs nothing of what the process is."""
    before = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "net", "user", "mnt")]
    here = available()
    assert (here.refusal == "") == (here.spaces.processes and here.spaces.network)
    assert Spaces().flags == 0
    assert [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "net", "user", "mnt")] == before


def _groups_of(mark: str, groups: Path) -> set[Path]:
    """Those that marked processes are in: other forges of this machine have groups there, too."""
    names = set()
    for pid in marked(mark):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
            names |= {Path(line.split(":", 2)[2]).name for line in lines}
    return {groups / name for name in names if name.startswith(PREFIX) and (groups / name).exists()}


def _is_left(group: Path) -> bool:
    """Whether nobody uses it any more."""
    try:
        lock = lock_folder(group)
    except FileNotFoundError:
        return False
    if lock is None:
        return False
    lock.release()
    return group.exists()


def _until(true, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
