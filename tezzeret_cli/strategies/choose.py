"""``--strategy auto``: one strategy for each job, with the reason. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tezzeret_cli.model.descriptor import Tier
from tezzeret_cli.model.job import Job, Strategy
from tezzeret_cli.model.manifest import Manifest
from tezzeret_cli.strategies import AUTO
from tezzeret_cli.strategies.ladder import led_to

LONG_SHARE = 0.7
"""The part of its time from which a build counts as close to its deadline."""


def choose(
    job: Job,
    strategies: Mapping[str, Strategy],
    earlier: Manifest | None,
    available_bytes: int,
    *,
    allow_aggressive: bool,
) -> tuple[Strategy, str]:
    """The strategy and why. ``earlier`` is the newest bundle of the same blueprint, ``available_bytes`` the
    memory that is free. (Breakers and conservative mode lower the choice when the job starts.)"""
    ladder = list(strategies.values())
    first = "aggressive" if allow_aggressive and job.descriptor.tier is Tier.SAFE else "standard"
    why = "its tier is SAFE and that is allowed" if first == "aggressive" else "nothing speaks against it"
    if job.descriptor.tier is Tier.HIGH_RISK:
        first, why = "fast", "its tier is HIGH_RISK"
    first, why = _by_history(first, why, strategies, earlier)
    index = [strategy.name for strategy in ladder].index(first)
    while ladder[index].memory_bytes > available_bytes and index + 1 < len(ladder):
        index += 1
        why = f"{available_bytes >> 20} MiB of memory are free"
    return ladder[index], f"{AUTO}: {why}"


def _by_history(
    first: str, why: str, strategies: Mapping[str, Strategy], earlier: Manifest | None
) -> tuple[str, str]:
    if earlier is None or earlier.eager_fallback or earlier.compile_strategy not in strategies:
        return first, why
    names = list(strategies)
    made_by, strategy = earlier.compile_strategy, strategies[earlier.compile_strategy]
    gave_way = any(led_to(note, made_by) for note in earlier.notes)
    if gave_way and names.index(made_by) > names.index(first):
        return made_by, f"a dearer one failed for {earlier.version}"
    seconds = earlier.compile_ms / 1e3
    if made_by == first == "standard" and seconds > LONG_SHARE * strategy.timeout_s:
        return "fast", f"the last build took {seconds:.0f} s of {strategy.timeout_s:g}"
    return first, why
