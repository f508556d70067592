"""Instruction sets that libraries are built for: whole micro-architecture levels, never "native".

A level is what ``-march`` names and what a consumer can check by name in ``/proc/cpuinfo``, so a
library never uses an extension that its manifest does not list.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import msgspec

_V2 = ("cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3")
_V3 = (*_V2, "abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe")
_V4 = (*_V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")


class Isa(msgspec.Struct, frozen=True):
    """``name`` stands in versions and manifests; ``flags`` are /proc/cpuinfo's names."""

    name: str
    machine: str
    march: str
    flags: tuple[str, ...]


LEVELS: tuple[Isa, ...] = (
    Isa("avx512", "x86_64", "x86-64-v4", tuple(sorted(_V4))),
    Isa("avx2", "x86_64", "x86-64-v3", tuple(sorted(_V3))),
    Isa("neon", "aarch64", "armv8-a", ("asimd", "fp")),
)
"""Best first."""


@functools.cache
def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The extensions of the first processor; reads no further than its line, and once: the kernel makes the
    text anew for every reader."""
    with open(cpuinfo, "rb") as lines:
        for line in lines:
            key, _, value = line.partition(b":")
            if key.strip() in (b"flags", b"Features"):
                return frozenset(value.decode("utf-8", "replace").split())
    return frozenset()


def levels_here(flags: frozenset[str], machine: str | None = None) -> tuple[Isa, ...]:
    """The levels that a processor with ``flags`` runs, best first."""
    machine = machine or platform.machine()
    return tuple(level for level in LEVELS if level.machine == machine and flags.issuperset(level.flags))


def level_named(name: str) -> Isa | None:
    """The level called ``name``; ``None`` for any other text, such as ``default``."""
    return next((level for level in LEVELS if level.name == name), None)
