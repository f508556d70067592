"""Descriptors on the wire: proto3 JSON and binary protobuf, to and from the plain struct.

protobuf is imported when a function is called, not before.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tezzeret_cli.model.descriptor import Bounds, Descriptor, Tier

if TYPE_CHECKING:
    from tezzeret_cli.leyline.leyline_pb2 import BlueprintDescriptor

_TIER_PREFIX = "BLUEPRINT_TIER_"
CATALOGUE = "catalogue.json"


class MalformedDescriptorError(ValueError):
    """The bytes or the JSON value are not a descriptor; the message says where and why."""


def from_json(value: dict[str, Any]) -> Descriptor:
    """A descriptor from a proto3 JSON object, field names in either spelling; unknown ones are ignored.

    Raises ``MalformedDescriptorError``.
    """
    from google.protobuf import json_format

    from tezzeret_cli.leyline.leyline_pb2 import BlueprintDescriptor, BlueprintTier

    _refuse_what_the_parser_lets_pass(value, BlueprintTier.keys())
    try:
        message = json_format.ParseDict(value, BlueprintDescriptor(), ignore_unknown_fields=True)
    except (json_format.ParseError, OverflowError) as error:
        raise MalformedDescriptorError(_one_line(error)) from error
    return _plain(message)


def from_binary(data: bytes) -> list[Descriptor]:
    """The descriptors in a binary ``BlueprintCatalogue`` or a single ``BlueprintDescriptor``.

    Raises ``MalformedDescriptorError`` when the bytes are neither.
    """
    from google.protobuf.message import DecodeError

    from tezzeret_cli.leyline.leyline_pb2 import BlueprintCatalogue, BlueprintDescriptor

    try:
        catalogue = BlueprintCatalogue.FromString(data)
        if catalogue.descriptors:
            return [_plain(message) for message in catalogue.descriptors]
        single = BlueprintDescriptor.FromString(data)
    except DecodeError as error:
        raise MalformedDescriptorError("truncated or not a Leyline descriptor") from error
    if not single.blueprint_id and not single.name:
        raise MalformedDescriptorError("no blueprint_id: not a Leyline descriptor")
    return [_plain(single)]


def to_json(descriptor: Descriptor) -> str:
    """Proto3 JSON in snake_case."""
    from google.protobuf import json_format

    text: str = json_format.MessageToJson(
        _message(descriptor), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return text


def catalogue_to_binary(descriptors: Sequence[Descriptor]) -> bytes:
    """One binary ``BlueprintCatalogue``."""
    from tezzeret_cli.leyline.leyline_pb2 import BlueprintCatalogue

    catalogue = BlueprintCatalogue(descriptors=[_message(descriptor) for descriptor in descriptors])
    data: bytes = catalogue.SerializeToString(deterministic=True)
    return data


def builtin_catalogue() -> list[Descriptor]:
    """The 50 blueprints that ship with Tezzeret, by id.

    They are packed as the plain struct, which decodes in a hundredth of the time that importing
    protobuf takes.
    """
    data = Path(__file__).with_name(CATALOGUE).read_bytes()
    return msgspec.json.decode(data, type=list[Descriptor])


def pack_catalogue(descriptors: Sequence[Descriptor]) -> bytes:
    """What ``builtin_catalogue`` reads."""
    ordered = sorted(descriptors, key=lambda descriptor: descriptor.blueprint_id)
    return msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n"


def _refuse_what_the_parser_lets_pass(value: dict[str, Any], tiers: Sequence[str]) -> None:
    """protobuf takes ``true`` and 1.5 for an enum or a number, and crashes on a key that is not Unicode."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise MalformedDescriptorError(f"an unpaired surrogate in {error.object[:40]!r}") from error
    except RecursionError as error:
        raise MalformedDescriptorError("nested too deeply") from error
    tier = value.get("tier")
    if isinstance(tier, str) and tier not in tiers:
        raise MalformedDescriptorError(f"tier: {tier!r} is unknown; use one of {', '.join(tiers)}")
    if isinstance(tier, bool | float):
        raise MalformedDescriptorError(f"tier: expected a name or a whole number, found {tier!r}")
    if isinstance(value.get("risk"), bool):
        raise MalformedDescriptorError("risk: expected a number, found true or false")
    for spelling in ("allowed_parameters", "allowedParameters"):
        parameters = value.get(spelling)
        for name, bounds in parameters.items() if isinstance(parameters, dict) else ():
            if not isinstance(bounds, dict):
                raise MalformedDescriptorError(f"{spelling}.{name}: expected min_value and max_value")
            if any(isinstance(bound, bool) for bound in bounds.values()):
                raise MalformedDescriptorError(f"{spelling}.{name}: expected numbers, found true or false")


def _plain(message: BlueprintDescriptor) -> Descriptor:
    from tezzeret_cli.leyline.leyline_pb2 import BlueprintTier

    try:
        tier = Tier(BlueprintTier.Name(message.tier).removeprefix(_TIER_PREFIX))
    except ValueError:
        known = ", ".join(name.value for name in Tier)
        raise MalformedDescriptorError(f"tier: {message.tier} is unknown; use one of {known}") from None
    bounds = {
        name: Bounds(value.min_value, value.max_value)
        for name, value in sorted(message.allowed_parameters.items())
    }
    return Descriptor(
        blueprint_id=message.blueprint_id,
        name=message.name,
        tier=tier,
        allowed_parameters=bounds,
        risk=_shortest(message.risk),
        stage=message.stage,
        quarantine_only=message.quarantine_only,
        approval_required=message.approval_required,
        description=message.description,
    )


def _message(descriptor: Descriptor) -> BlueprintDescriptor:
    from tezzeret_cli.leyline.leyline_pb2 import BlueprintDescriptor, BlueprintParameterBounds, BlueprintTier

    return BlueprintDescriptor(
        blueprint_id=descriptor.blueprint_id,
        name=descriptor.name,
        tier=BlueprintTier.Value(_TIER_PREFIX + descriptor.tier.value),
        allowed_parameters={
            name: BlueprintParameterBounds(min_value=bounds.min_value, max_value=bounds.max_value)
            for name, bounds in descriptor.allowed_parameters.items()
        },
        risk=descriptor.risk,
        stage=descriptor.stage,
        quarantine_only=descriptor.quarantine_only,
        approval_required=descriptor.approval_required,
        description=descriptor.description,
    )


def _shortest(single: float) -> float:
    """The number with the fewest digits that is ``single`` on the wire: 0.1, not 0.10000000149011612."""
    wire = struct.pack("<f", single)
    candidates = (float(f"{single:.{digits}g}") for digits in range(6, 9))
    return next((number for number in candidates if struct.pack("<f", number) == wire), single)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
