"""The compile profile: a TOML file that says, per blueprint or pattern, how to compile it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from tezzeret_cli.errors import InputError
from tezzeret_cli.inputs import matches
from tezzeret_cli.model.descriptor import Descriptor

LARGEST_BATCH = 1 << 16
"""Every size of a range is checked against the guards of the captured graph."""

DTYPES = ("float16", "bfloat16", "float32", "float64")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ``[[blueprint]]`` table. What it does not give is left as it was.

    ``match`` is a glob over id or name; ``shapes`` is a list of examples, each a list with one shape per
    tensor input; ``batch`` is ``[smallest, largest]`` or ``false``.
    """

    match: str
    parameters: dict[str, float] | None = None
    shapes: list[list[list[int]]] | None = None
    batch: list[int] | bool | None = None
    dtype: str | None = None
    device: str | None = None
    strategy: str | None = None
    tags: list[str] | None = None
    factory: str | None = None


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All rules in the order of the file; later ones win."""

    blueprint: tuple[Rule, ...] = ()


def read_profile(path: Path) -> Profile:
    """Read and check a profile. Raises ``InputError`` naming file, table and field."""
    import tomllib

    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", advice="check the path of the profile") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start})", advice="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: malformed TOML: {error}", advice="correct the file") from error
    try:
        profile = msgspec.convert(value, Profile)
    except msgspec.ValidationError as error:
        fields = ", ".join(Rule.__struct_fields__)
        raise InputError(f"{path}: {error}", advice=f"a [[blueprint]] table takes {fields}") from error
    for number, rule in enumerate(profile.blueprint, 1):
        _check(f"{path}: blueprint table {number} ({rule.match})", rule)
    return profile


def rule_for(profile: Profile, descriptor: Descriptor) -> Rule:
    """The rules that match, merged: what a later one gives replaces what an earlier one gave."""
    merged: dict[str, object] = {}
    parameters: dict[str, float] = {}
    for rule in profile.blueprint:
        if matches(descriptor, rule.match):
            given = msgspec.structs.asdict(rule)
            merged |= {name: value for name, value in given.items() if value is not None}
            parameters |= rule.parameters or {}
    merged |= {"match": descriptor.blueprint_id, "parameters": parameters}
    return msgspec.convert(merged, Rule)


def unused_rules(profile: Profile, descriptors: Sequence[Descriptor]) -> list[str]:
    """The ``match`` of every rule that no descriptor fits."""
    return [r.match for r in profile.blueprint if not any(matches(d, r.match) for d in descriptors)]


def _check(where: str, rule: Rule) -> None:
    if rule.dtype is not None and rule.dtype not in DTYPES:
        raise InputError(
            f"{where}: dtype: {rule.dtype!r} is unknown", advice=f"use one of {', '.join(DTYPES)}"
        )
    if rule.batch is True:
        raise InputError(f"{where}: batch: true says nothing", advice="give [smallest, largest] or false")
    if isinstance(rule.batch, list) and not (
        len(rule.batch) == 2 and 1 <= rule.batch[0] <= rule.batch[1] and rule.batch[1] >= 2
    ):
        raise InputError(
            f"{where}: batch: {rule.batch} is not a range",
            advice="give [smallest, largest] with 1 <= smallest",
        )
    if isinstance(rule.batch, list) and rule.batch[1] > LARGEST_BATCH:
        raise InputError(
            f"{where}: batch: {rule.batch[1]} is too large", advice=f"the largest batch is {LARGEST_BATCH}"
        )
    for example in rule.shapes or ():
        if not example or any(size < 0 for shape in example for size in shape):
            raise InputError(f"{where}: shapes: {example} is not a list of shapes", advice="use [[8, 16]]")
