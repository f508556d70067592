"""Where this process stands among the kernel's control groups: v2, v1, or both side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def v2_folders(proc: Path = PROC, cgroups: Path = CGROUPS) -> list[Path]:
    """This process's group of version 2 and those above it, as far as they can be seen."""
    beside_v1 = cgroups / "unified"
    root = beside_v1 if beside_v1.is_dir() else cgroups
    return _folders(proc, root, lambda controllers: controllers == "")


def v1_folders(controller: str, proc: Path = PROC, cgroups: Path = CGROUPS) -> list[Path]:
    """The same for a controller of version 1, as ``memory`` or ``cpu``."""
    return _folders(proc, cgroups / controller, lambda controllers: controller in controllers.split(","))


def _folders(proc: Path, root: Path, wanted: Callable[[str], bool]) -> list[Path]:
    for line in (read_text(proc / "self" / "cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if wanted(controllers):
            group = root / path.lstrip("/")
            return [folder for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return []


def read_field(path: Path, name: str) -> int:
    """A number from a file of names and numbers; 0 where it is not there."""
    for line in (read_text(path) or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def read_number(path: Path) -> int | None:
    """A file that is one number, not below 0; ``None`` where there is none."""
    text = read_text(path)
    return int(text) if text is not None and text.isdigit() else None


def read_text(path: Path) -> str | None:
    """A file of the kernel's; ``None`` where this kernel or this group does not have it."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:  # not there, or not allowed, or not accounted (EOPNOTSUPP of /proc/pressure)
        return None
