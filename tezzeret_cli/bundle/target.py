"""Whether this machine can run a bundle's libraries."""

from __future__ import annotations

import functools
import os
import platform

from tezzeret_cli import isa
from tezzeret_cli.model.manifest import Target


def mismatch(target: Target, flags: frozenset[str] | None = None) -> str | None:
    """Why this machine cannot run ``target``, or ``None`` when it can.

    The device is not looked at: that needs torch. ``flags`` are the processor's, read when not given.
    """
    here = (platform.system().lower(), platform.machine())
    if (target.system, target.architecture) != here:
        return f"it is built for {target.system} on {target.architecture}, this is {here[0]} on {here[1]}"
    missing = set(target.cpu_flags) - (isa.cpu_flags() if flags is None else flags)
    if missing:
        return f"it needs {target.isa}, and this processor lacks {', '.join(sorted(missing))}"
    needed = target.symbols.get("GLIBC")
    have = _glibc()
    if needed and have and _number(have) < _number(needed):
        return f"it needs GLIBC {needed}, this machine has {have}"
    return None


@functools.cache
def _glibc() -> str | None:
    name = "CS_GNU_LIBC_VERSION"
    have = os.confstr(name) if name in os.confstr_names else None
    return have.split()[-1] if have else None


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
