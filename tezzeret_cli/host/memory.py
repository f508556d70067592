"""Memory and processors as this process may use them: the machine's, or less where a cgroup says so."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

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


def read_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Memory:
    """Ask the kernel now."""
    import psutil

    machine = psutil.virtual_memory()
    total, available, limited_by = machine.total, machine.available, "machine"
    for version, limit, free in _cgroup_limits(proc, cgroups):
        if limit < total or free < available:
            total, available, limited_by = min(total, limit), min(available, free), version
    return Memory(total, max(0, available), limited_by, _pressure(proc))


def usable_cores(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Processors that this process may keep busy: its affinity, or less where a cgroup has a quota."""
    cores = len(os.sched_getaffinity(0))
    for folder in _v2_folders(proc, cgroups):
        quota, _, period = (_text(folder / "cpu.max") or "max 1").partition(" ")
        if quota != "max":
            cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)


def threads_each(workers: int) -> int:
    """How many threads each of ``workers`` processes may have when all work at once; at least one."""
    return max(1, usable_cores() // workers)


def _cgroup_limits(proc: Path, cgroups: Path) -> list[tuple[str, int, int]]:
    """(version, limit, free) of every group around this process that has a limit."""
    kinds = (
        ("cgroup v2", _v2_folders, "memory.max", "memory.current", "inactive_file"),
        ("cgroup v1", _v1_folders, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    found = []
    for version, folders, most, now, cache in kinds:
        for folder in folders(proc, cgroups):
            limit, used = _number(folder / most), _number(folder / now)
            if limit is not None and used is not None and limit < _UNLIMITED:
                found.append((version, limit, limit - used + _field(folder / "memory.stat", cache)))
    return found


def _v2_folders(proc: Path, cgroups: Path) -> list[Path]:
    return _folders(proc, cgroups, lambda controllers: controllers == "")


def _v1_folders(proc: Path, cgroups: Path) -> list[Path]:
    return _folders(proc, cgroups / "memory", lambda controllers: "memory" in controllers.split(","))


def _folders(proc: Path, root: Path, wanted: Callable[[str], bool]) -> list[Path]:
    """This process's group and those above it, as far as they can be seen."""
    for line in (_text(proc / "self" / "cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if wanted(controllers):
            group = root / path.lstrip("/")
            return [folder for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return []


def _pressure(proc: Path) -> float | None:
    for line in (_text(proc / "pressure" / "memory") or "").splitlines():
        if line.startswith("some "):
            return float(line.split("avg10=")[1].split()[0])
    return None


def _field(path: Path, name: str) -> int:
    for line in (_text(path) or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.isdigit() else None


def _text(path: Path) -> str | None:
    """A file of the kernel's; ``None`` where this kernel or this group does not have it."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:  # not there, or not allowed, or not accounted (EOPNOTSUPP of /proc/pressure)
        return None
