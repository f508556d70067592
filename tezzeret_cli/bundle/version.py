"""Semantic versions of bundles, with the lineage as build metadata."""

from __future__ import annotations

import functools
import hashlib
import re

import msgspec

from tezzeret_cli.model.manifest import Manifest, Target

_VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\+([0-9A-Za-z-]+)")


@functools.total_ordering
class Version(msgspec.Struct, frozen=True):
    """``major.minor.patch+lineage``. Versions are ordered within a lineage only."""

    major: int
    minor: int
    patch: int
    lineage: str

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}+{self.lineage}"

    def __lt__(self, other: Version) -> bool:
        return self.numbers < other.numbers

    @property
    def numbers(self) -> tuple[int, int, int]:
        return self.major, self.minor, self.patch


def parse(text: str) -> Version | None:
    """The version that ``text`` spells exactly, ``None`` when it is not one."""
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    return Version(int(match[1]), int(match[2]), int(match[3]), match[4])


def lineage(parameters: dict[str, float], target: Target) -> str:
    """What versions count within (beside the blueprint): device, instruction set, parameter values."""
    text = " ".join(f"{name}={value:.17g}" for name, value in sorted(parameters.items()))
    where = target.isa if target.capability is None else f"sm{target.capability.replace('.', '')}"
    return f"{target.device}-{where}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def next_version(previous: Manifest | None, new: Manifest) -> Version:
    """The version of ``new`` after ``previous``, the newest of its lineage.

    Major when what a caller sees changed (arguments, outputs, tensors, guards), minor when what is
    computed changed (builder, strategy), patch when another toolchain made the same.
    """
    last = parse(previous.version) if previous is not None else None
    if previous is None or last is None:
        return Version(1, 0, 0, new.lineage)
    if _contract(previous) != _contract(new):
        return Version(last.major + 1, 0, 0, new.lineage)
    if _meaning(previous) != _meaning(new):
        return Version(last.major, last.minor + 1, 0, new.lineage)
    return Version(last.major, last.minor, last.patch + 1, new.lineage)


def _contract(manifest: Manifest) -> object:
    calls = [(v.training, v.arguments, v.output, v.leaves) for v in manifest.variants]
    return manifest.slots, manifest.guard_spec, calls, manifest.eager_fallback


def _meaning(manifest: Manifest) -> object:
    return manifest.parameters, manifest.factory, manifest.compile_strategy
