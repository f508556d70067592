"""What to make: descriptors, profile and flags become jobs. Pure; no file is read here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from tezzeret_cli.errors import InputError
from tezzeret_cli.inputs import matches
from tezzeret_cli.model.descriptor import Bounds, Descriptor
from tezzeret_cli.model.job import BatchRange, Example, Factory, Job, Strategy
from tezzeret_cli.model.run import Shard
from tezzeret_cli.profile import Profile, Rule, rule_for

CONTINUOUS = frozenset(
    {
        "scale",
        "epsilon",
        "dropout",
        "momentum",
        "gate_bias",
        "capacity",
        "frequency",
        "temperature",
        "decay",
    }
)
"""Parameters that take any number in their bounds; all others are whole numbers, except …"""

CONTINUOUS_OF = frozenset({("BP047", "growth_rate")})
"""… these, by blueprint id and parameter."""

Resolve = Callable[[Descriptor, str | None], Factory]
DefaultBatch = Callable[[Descriptor], BatchRange]


class Wishes(msgspec.Struct, frozen=True):
    """What the caller asked for, over all blueprints. ``parameters`` are ``NAME=VALUE`` or
    ``BLUEPRINT.NAME=VALUE`` texts; ``strategies`` are the known ones by name."""

    strategies: Mapping[str, Strategy]
    strategy: str
    device: str
    parameters: tuple[str, ...] = ()
    timeout_s: float | None = None
    memory: int | None = None


def make_plan(
    descriptors: Sequence[Descriptor],
    profile: Profile,
    wishes: Wishes,
    resolve: Resolve,
    default_batch: DefaultBatch,
) -> tuple[Job, ...]:
    """One job per descriptor, in order of id, without keys.

    Raises ``InputError`` when a parameter is unknown to all of them, out of bounds, fractional where it
    must be whole, or when a strategy is unknown.
    """
    overrides = [_override(text) for text in wishes.parameters]
    for glob, name, _, text in overrides:
        aimed = [d for d in descriptors if glob is None or matches(d, glob)]
        if not any(name in descriptor.allowed_parameters for descriptor in aimed):
            known = sorted({key for descriptor in aimed for key in descriptor.allowed_parameters})
            raise InputError(
                f"--param {text}: no selected blueprint has a parameter {name!r}",
                advice=f"they have {', '.join(known)}" if known else "they have none",
            )
    jobs = []
    for descriptor in sorted(descriptors, key=lambda d: d.blueprint_id):
        rule = rule_for(profile, descriptor)
        given = {name: (value, f"profile: {name}") for name, value in (rule.parameters or {}).items()}
        for glob, name, value, text in overrides:
            if name in descriptor.allowed_parameters and (glob is None or matches(descriptor, glob)):
                given[name] = (value, f"--param {text}")
        jobs.append(_job(descriptor, rule, given, wishes, resolve, default_batch))
    return tuple(jobs)


def in_shard(jobs: Sequence[Job], shard: Shard) -> tuple[Job, ...]:
    """Every ``shard.of``-th job in order of id and parameter values. Only those count, since keys differ
    between machines: the same inputs are cut into the same shards everywhere, each job is in one, and their
    sizes differ by one at most."""
    ordered = sorted(jobs, key=lambda job: (job.blueprint_id, sorted(job.parameters.items())))
    return tuple(ordered[shard.number - 1 :: shard.of])


def is_whole(blueprint_id: str, parameter: str) -> bool:
    """Whether a parameter takes whole numbers only."""
    return parameter not in CONTINUOUS and (blueprint_id, parameter) not in CONTINUOUS_OF


def default_value(blueprint_id: str, parameter: str, bounds: Bounds) -> float:
    """The midpoint of the bounds, rounded down for a whole number."""
    middle = bounds.min_value + (bounds.max_value - bounds.min_value) / 2
    return float(math.floor(middle)) if is_whole(blueprint_id, parameter) else middle


def _override(text: str) -> tuple[str | None, str, float, str]:
    left, equals, value = text.partition("=")
    glob, dot, name = left.strip().rpartition(".")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not equals or not name or math.isnan(number):
        raise InputError(
            f"--param {text}: not NAME=NUMBER", advice="write it like layers=2 or BP023.layers=2"
        )
    return (glob if dot else None), name, number, text


def _job(
    descriptor: Descriptor,
    rule: Rule,
    given: dict[str, tuple[float, str]],
    wishes: Wishes,
    resolve: Resolve,
    default_batch: DefaultBatch,
) -> Job:
    parameters = {
        name: default_value(descriptor.blueprint_id, name, bounds)
        for name, bounds in sorted(descriptor.allowed_parameters.items())
    }
    for name, (value, where) in given.items():
        parameters[name] = _checked(descriptor, name, value, where)
    return Job(
        descriptor=descriptor,
        parameters=parameters,
        factory=resolve(descriptor, rule.factory),
        strategy=_strategy(rule.strategy or wishes.strategy, wishes),
        device=rule.device or wishes.device,
        dtype=rule.dtype,
        examples=tuple(Example(tuple(tuple(s) for s in example)) for example in rule.shapes or ()),
        batch=_batch(rule, default_batch(descriptor)),
        tags=tuple(rule.tags or ()),
    )


def _checked(descriptor: Descriptor, name: str, value: float, where: str) -> float:
    bounds = descriptor.allowed_parameters.get(name)
    if bounds is None:
        known = ", ".join(descriptor.allowed_parameters) or "none"
        raise InputError(
            f"{where}: {descriptor.blueprint_id} has no parameter {name!r}", advice=f"it has {known}"
        )
    if not bounds.min_value <= value <= bounds.max_value:
        raise InputError(
            f"{where}: {value:g} is outside the bounds of {descriptor.blueprint_id}",
            advice=f"{name} goes from {bounds.min_value:g} to {bounds.max_value:g}",
        )
    if is_whole(descriptor.blueprint_id, name) and not float(value).is_integer():
        raise InputError(f"{where}: {value:g} is not a whole number", advice=f"{name} counts something")
    return float(value)


def _strategy(name: str, wishes: Wishes) -> Strategy:
    strategy = wishes.strategies.get(name)
    if strategy is None:
        known = ", ".join(wishes.strategies)
        raise InputError(f"--strategy {name}: unknown strategy", advice=f"use one of {known}")
    return msgspec.structs.replace(
        strategy,
        timeout_s=wishes.timeout_s or strategy.timeout_s,
        memory_bytes=wishes.memory or strategy.memory_bytes,
    )


def _batch(rule: Rule, default: BatchRange) -> BatchRange | None:
    if rule.batch is False:
        return None
    if isinstance(rule.batch, list):
        return BatchRange(*rule.batch)
    return default
