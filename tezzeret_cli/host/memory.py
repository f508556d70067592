"""Memory and processors as this process may use them: the machine's, or less where a cgroup says so."""

from __future__ import annotations

import math
import os
from pathlib import Path

import msgspec

from tezzeret_cli.host.cgroup import (
    CGROUPS,
    PROC,
    read_field,
    read_number,
    read_text,
    v1_folders,
    v2_folders,
)

_UNLIMITED = 1 << 60


class Memory(msgspec.Struct, frozen=True):
    """Bytes that the whole forge may use, and how many of them are free. ``limited_by`` is ``machine``,
    ``cgroup v2`` or ``cgroup v1``; ``pressure`` is the share of time (percent, last 10 s) in which some
    process waited for memory, ``None`` where the kernel does not tell."""

    total: int
    available: int
    limited_by: str
    pressure: float | None

    @property
    def used_percent(self) -> float:
        return 100.0 * (1 - self.available / self.total)


def read_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> Memory:
    """Ask the kernel now."""
    import psutil

    machine = psutil.virtual_memory()
    total, available, limited_by = machine.total, machine.available, "machine"
    for version, limit, free in _cgroup_limits(proc, cgroups):
        if limit < total or free < available:
            total, available, limited_by = min(total, limit), min(available, free), version
    return Memory(total, max(0, available), limited_by, _pressure(proc))


def usable_cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Processors that this process may keep busy: its affinity, or less where a cgroup has a quota."""
    cores = len(os.sched_getaffinity(0))
    for folder in v2_folders(proc, cgroups):
        quota, _, period = (read_text(folder / "cpu.max") or "max 1").partition(" ")
        if quota != "max":
            cores = min(cores, math.ceil(int(quota) / int(period)))
    for folder in v1_folders("cpu", proc, cgroups):
        used = read_number(folder / "cpu.cfs_quota_us")  # -1 where there is no quota
        of = read_number(folder / "cpu.cfs_period_us")
        if used and of:
            cores = min(cores, math.ceil(used / of))
    return max(1, cores)


def threads_each(workers: int) -> int:
    """How many threads each of ``workers`` processes may have when all work at once; at least one."""
    return max(1, usable_cores() // workers)


def _cgroup_limits(proc: Path, cgroups: Path) -> list[tuple[str, int, int]]:
    """(version, limit, free) of every group around this process that has a limit."""
    v2, v1 = v2_folders(proc, cgroups), v1_folders("memory", proc, cgroups)
    kinds = (
        ("cgroup v2", v2, "memory.max", "memory.current", "inactive_file"),
        ("cgroup v1", v1, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    found = []
    for version, folders, most, now, cache in kinds:
        for folder in folders:
            limit, used = read_number(folder / most), read_number(folder / now)
            if limit is not None and used is not None and limit < _UNLIMITED:
                found.append((version, limit, limit - used + read_field(folder / "memory.stat", cache)))
    return found


def _pressure(proc: Path) -> float | None:
    for line in (read_text(proc / "pressure" / "memory") or "").splitlines():
        if line.startswith("some "):
            return float(line.split("avg10=")[1].split()[0])
    return None
