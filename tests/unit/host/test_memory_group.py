"""Groups that hold a job's memory: for real in the version that this machine has, and who is refused, and
why, from written trees."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import ROOT
from tezzeret_cli.host.cgroup import CGROUPS, read_text, v1_folders, v2_folders
from tezzeret_cli.host.memory_group import NoGroups, find_place

LIMIT = 48 << 20

PROGRAM = f"""
import json, os, signal, sys
from pathlib import Path
from tezzeret_cli.host.cgroup import v2_folders
from tezzeret_cli.host.memory_group import MemoryGroup, find_place, move_back

Path(sys.argv[1], "cgroup.procs").write_text("0")
before = v2_folders()
place = find_place()
moved = v2_folders() != before

def ending(count):
    group = MemoryGroup(place, {LIMIT})
    child = os.fork()
    if child == 0:
        group.join()
        bytearray(count)[::4096] = b"x" * len(range(0, count, 4096))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    said = [os.waitstatus_to_exitcode(status), group.kills(), group.peak()]
    group.close()
    return said

small, large = ending({LIMIT // 4}), ending({LIMIT * 4})
left = sorted(path.name for path in Path(place.folder).glob("tezzeret-*"))
move_back()
back = v2_folders() == before
print(json.dumps([place.version, small, large, moved, left, back]))
"""


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def group(request) -> Iterator[tuple[int, Path]]:
    """The version, and an empty group of that version which may have groups below it."""
    version: int = request.param
    if (v1_folders("memory") != []) != (version == 1):
        pytest.skip(f"memory is not in a cgroup of version {version} on this machine")
    folders = v1_folders("memory") if version == 1 else v2_folders()
    if not folders:
        pytest.skip("this machine has no cgroups")
    if version == 2 and "memory" not in (read_text(folders[-1] / "cgroup.subtree_control") or "").split():
        pytest.skip(f"{folders[-1]} does not give its groups control of memory")
    folder = folders[-1] / f"tezzeret-test-{secrets.token_hex(4)}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"{folder}: {error.strerror}")
    yield version, folder
    folder.rmdir()


def test_a_group_holds_its_process_and_leaves_nothing(group):
    version, folder = group
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found, small, large, moved, left, back = json.loads(done.stdout)
    assert found == version
    assert small[:2] == [0, 0]
    assert LIMIT // 4 <= small[2] < LIMIT
    assert (large[0], large[1] >= 1) == (-9, True)
    assert large[2] <= LIMIT + (1 << 20)
    assert (moved, back) == (version == 2, True)
    assert left == ([] if version == 1 else [name for name in left if name.startswith("tezzeret-forge-")])


@pytest.fixture
def refused(tmp_path):
    """``refused(own, files)``: why there are no groups for a process that ``/proc/self/cgroup`` says is where
    ``own`` says, in a tree of these files."""

    def refuse(own: str, files: dict[str, str]) -> str:
        tree = {"proc/self/cgroup": own} | {f"cgroup/{name}": text for name, text in files.items()}
        for name, text in tree.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        with pytest.raises(NoGroups) as said:
            find_place(tmp_path / "proc", tmp_path / "cgroup")
        return str(said.value).replace(f"{tmp_path}/cgroup", "")

    return refuse


def test_a_kernel_without_groups_is_told(refused):
    assert refused("", {}) == "this kernel has no cgroups for memory"


def test_a_group_that_cannot_be_seen_is_told(refused):
    """As in a container that shows another part of the tree than it is in."""
    assert refused("0::/pod/a\n", {"cgroup.procs": "1\n", "cgroup.controllers": "memory\n"}) == (
        "/pod/a cannot be seen"
    )


@pytest.mark.parametrize("root", ["", "unified/"], ids=["v2", "beside-v1"])
def test_a_group_of_v2_without_control_of_memory_is_told(refused, root):
    files = {f"{root}a/cgroup.procs": f"{os.getpid()}\n", f"{root}a/cgroup.controllers": "cpu io\n"}
    assert refused("0::/a\n", files) == f"/{root}a has no control of memory"


@pytest.mark.skipif(
    "memory" in (read_text(CGROUPS / "unified" / "cgroup.controllers") or "memory").split(),
    reason="this machine has no hierarchy of version 2 beside one of version 1 that has the memory",
)
def test_a_real_hierarchy_of_v2_without_control_of_memory_is_told(tmp_path):
    (tmp_path / "self").mkdir()
    lines = Path("/proc/self/cgroup").read_text().splitlines(keepends=True)
    (tmp_path / "self" / "cgroup").write_text("".join(line for line in lines if line.startswith("0::")))
    with pytest.raises(NoGroups, match="has no control of memory"):
        find_place(tmp_path)
