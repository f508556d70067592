"""What the kernel says of memory and processors, read from files as a kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tezzeret_cli.host import memory
from tezzeret_cli.host.memory import read_memory, usable_cores


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def kernel(tmp_path):
    """``kernel(proc, cgroups)`` writes both trees; the arguments for the functions under test."""

    def make(proc: dict[str, str], cgroups: dict[str, str]) -> tuple[Path, Path]:
        write(tmp_path / "proc", proc)
        write(tmp_path / "cgroup", cgroups)
        return tmp_path / "proc", tmp_path / "cgroup"

    return make


def test_without_cgroups_and_pressure_the_machine_counts_and_pressure_is_absent(kernel):
    memory = read_memory(*kernel({}, {}))
    assert memory.limited_by == "machine"
    assert memory.pressure is None
    assert 0 < memory.available <= memory.total


def test_a_limit_of_cgroup_v2_around_the_process_counts(kernel):
    memory = read_memory(
        *kernel(
            {
                "self/cgroup": "0::/jobs/forge\n",
                "pressure/memory": "some avg10=12.50 avg60=1.00 avg300=0.10 total=9\nfull avg10=0.00\n",
            },
            {
                "jobs/memory.max": f"{1 << 30}\n",
                "jobs/memory.current": f"{900 << 20}\n",
                "jobs/memory.stat": f"anon 5\ninactive_file {100 << 20}\n",
                "jobs/forge/memory.max": "max\n",
                "jobs/forge/memory.current": "7\n",
            },
        )
    )
    assert (memory.total, memory.available) == (1 << 30, (1024 - 800) << 20)
    assert (memory.limited_by, memory.pressure) == ("cgroup v2", 12.5)
    assert memory.used_percent == pytest.approx(78.125)


def test_a_limit_of_cgroup_v1_counts_and_no_limit_does_not(kernel):
    group = "memory/docker/1"
    lines = "12:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n0::/\n"
    memory = read_memory(
        *kernel(
            {"self/cgroup": lines},
            {
                f"{group}/memory.limit_in_bytes": f"{2 << 30}\n",
                f"{group}/memory.usage_in_bytes": f"{1 << 30}\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/memory.usage_in_bytes": "5\n",
            },
        )
    )
    assert (memory.total, memory.available, memory.limited_by) == (2 << 30, 1 << 30, "cgroup v1")


@pytest.mark.parametrize(
    ("quota", "cores"), [("50000 100000", 1), ("max 100000", None), ("900000 100000", None)]
)
def test_a_quota_limits_the_cores(kernel, quota, cores):
    own = usable_cores(*kernel({}, {}))
    found = usable_cores(*kernel({"self/cgroup": "0::/a\n"}, {"a/cpu.max": quota + "\n"}))
    assert found == (cores or own)


@pytest.mark.parametrize(
    ("quota", "period", "cores"), [("50000", "100000", 1), ("-1", "100000", None), ("900000", "100000", None)]
)
def test_a_quota_of_version_1_limits_the_cores(kernel, quota, period, cores):
    """Also that of a group above, and where the controller is mounted with another."""
    own = usable_cores(*kernel({}, {}))
    group = "cpu/docker"
    files = {f"{group}/cpu.cfs_quota_us": f"{quota}\n", f"{group}/cpu.cfs_period_us": f"{period}\n"}
    lines = "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n0::/\n"
    assert usable_cores(*kernel({"self/cgroup": lines}, files)) == (cores or own)


def test_a_quota_of_version_2_counts_beside_version_1(kernel):
    lines = "4:memory:/a\n0::/a\n"
    assert usable_cores(*kernel({"self/cgroup": lines}, {"unified/a/cpu.max": "50000 100000\n"})) == 1


@pytest.mark.parametrize(("cores", "workers", "threads"), [(8, 3, 2), (2, 2, 1), (2, 9, 1)])
def test_processes_that_work_at_once_share_the_cores(monkeypatch, cores, workers, threads):
    monkeypatch.setattr(memory, "usable_cores", lambda: cores)
    assert memory.threads_each(workers) == threads
