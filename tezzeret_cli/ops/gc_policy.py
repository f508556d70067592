"""Which bundles go by the rules. Pure: what there is in, what goes and why out."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Sequence

import msgspec

from tezzeret_cli.bundle.version import Version
from tezzeret_cli.errors import InputError
from tezzeret_cli.model.collect import Rules
from tezzeret_cli.telemetry.numbers import duration, size

GRACE_S = 60.0
"""What was used or published within so many seconds never goes: somebody may be about to open it."""


class Bundle(msgspec.Struct, frozen=True, gc=False):
    """A published bundle. ``used`` is its last use or its publication in seconds since 1970."""

    blueprint_id: str
    version: Version
    path: str
    used: float
    bytes: int


class Choice(msgspec.Struct, frozen=True):
    """``going`` with the reason why; ``kept``, which the rules would remove, with the reason why not."""

    going: list[tuple[Bundle, str]]
    kept: list[tuple[Bundle, str]]


Needed = Callable[[Bundle], str | None]


def choose(bundles: Sequence[Bundle], rules: Rules, now: float, needed: Needed) -> Choice:
    """Apply the rules. A bundle stays if ``ttl_s`` or ``keep`` wants it; without both all stay. What is left
    then goes by last use, oldest first, until it fits into ``max_bytes``, but never what ``keep`` wants.

    ``needed`` says why a bundle must stay all the same; it is asked only about those that would go. Raises
    ``InputError`` for a pin that matches nothing.
    """
    pinned = _pinned(bundles, rules.pins)
    newer = _newer(bundles)
    choice = Choice([], [])
    gone: set[str] = set()

    def go(bundle: Bundle, reason: str) -> bool:
        why_not = _why_not(bundle, pinned, now) or needed(bundle)
        if why_not:
            choice.kept.append((bundle, why_not))
            return False
        choice.going.append((bundle, reason))
        gone.add(bundle.path)
        return True

    for bundle in bundles:
        reason = _reason(bundle, newer[bundle.path], rules, now)
        if reason:
            go(bundle, reason)
    if rules.max_bytes is not None:
        total = sum(bundle.bytes for bundle in bundles if bundle.path not in gone)
        asked = {bundle.path for bundle, _ in choice.kept} | gone
        reason = f"least recently used: {size(total)} are there, {size(rules.max_bytes)} allowed"
        for bundle in sorted(bundles, key=lambda bundle: (bundle.used, bundle.path)):
            if total <= rules.max_bytes:
                break
            wanted = rules.keep is not None and newer[bundle.path] < rules.keep
            if bundle.path not in asked and not wanted and go(bundle, reason):
                total -= bundle.bytes
    return choice


def _reason(bundle: Bundle, newer: int, rules: Rules, now: float) -> str | None:
    """Why neither ``ttl_s`` nor ``keep`` wants it, ``None`` if one does."""
    if rules.ttl_s is None and rules.keep is None:
        return None
    reasons = []
    if rules.ttl_s is not None:
        idle = now - bundle.used
        if idle <= rules.ttl_s:
            return None
        reasons.append(f"unused for {duration(idle)}, {duration(rules.ttl_s)} allowed")
    if rules.keep is not None:
        if newer < rules.keep:
            return None
        reasons.append(f"{newer} newer of its lineage, {rules.keep} kept")
    return "; ".join(reasons)


def _why_not(bundle: Bundle, pinned: set[str], now: float) -> str | None:
    if bundle.path in pinned:
        return "it is pinned"
    if now - bundle.used < GRACE_S:
        return f"it was used or published less than {GRACE_S:.0f} s ago"
    return None


def _newer(bundles: Sequence[Bundle]) -> dict[str, int]:
    """How many newer versions of its lineage each bundle has, by path."""
    lineages: dict[tuple[str, str], list[Bundle]] = {}
    for bundle in bundles:
        lineages.setdefault((bundle.blueprint_id, bundle.version.lineage), []).append(bundle)
    return {
        bundle.path: rank
        for members in lineages.values()
        for rank, bundle in enumerate(sorted(members, key=lambda b: b.version.numbers, reverse=True))
    }


def _pinned(bundles: Sequence[Bundle], pins: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for pin in pins:
        matching = [bundle.path for bundle in bundles if any(_matches(name, pin) for name in _names(bundle))]
        if not matching:
            raise InputError(f"pin {pin!r} matches no bundle", advice="correct it; nothing was removed")
        found.update(matching)
    return found


def _matches(name: str, pin: str) -> bool:
    return fnmatch.fnmatchcase(name, pin)


def _names(bundle: Bundle) -> Iterator[str]:
    """What a pin may call a bundle: by its blueprint, or with its version, with or without lineage."""
    text = str(bundle.version)
    yield bundle.blueprint_id
    yield f"{bundle.blueprint_id}/{text}"
    yield f"{bundle.blueprint_id}/{text.partition('+')[0]}"
