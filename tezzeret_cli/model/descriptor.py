"""What Karn says of a blueprint (Leyline's ``BlueprintDescriptor``), as plain data."""

from __future__ import annotations

import enum

import msgspec


class Tier(enum.StrEnum):
    """Leyline's ``BlueprintTier`` without its prefix."""

    UNSPECIFIED = "UNSPECIFIED"
    SAFE = "SAFE"
    EXPERIMENTAL = "EXPERIMENTAL"
    HIGH_RISK = "HIGH_RISK"


class Bounds(msgspec.Struct, frozen=True):
    """Inclusive bounds of one parameter."""

    min_value: float
    max_value: float


class Descriptor(msgspec.Struct, frozen=True):
    """One blueprint: who it is, what may vary, and how carefully to handle it."""

    blueprint_id: str
    name: str
    tier: Tier = Tier.UNSPECIFIED
    allowed_parameters: dict[str, Bounds] = {}
    risk: float = 0.0
    stage: int = 0
    quarantine_only: bool = False
    approval_required: bool = False
    description: str = ""
