"""Records → health, and what follows from it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tezzeret_cli.health import breaker as circuit
from tezzeret_cli.model.health import Breaker, BreakerRule, Health, HealthRecord, ModeChanged, Phase

MEMORY, GPU, TIMEOUT = "memory", "gpu", "timeout"


def apply(health: Health, record: HealthRecord, rules: Sequence[BreakerRule]) -> Health:
    """Health after ``record``."""
    if isinstance(record, ModeChanged):
        return msgspec.structs.replace(health, conservative=record.reasons, since=record.at)
    breakers = dict(health.breakers)
    for rule in rules:
        before = breakers.get(rule.name, Breaker())
        if record.failed is None:
            breakers[rule.name] = circuit.succeeded(before, rule, record.at)
        elif record.failed == rule.name:
            breakers[rule.name] = circuit.failed(before, rule, record.at)
    return msgspec.structs.replace(health, breakers=breakers)


def phases(health: Health, rules: Sequence[BreakerRule], now: float) -> dict[str, Phase]:
    """Every breaker's phase, by name."""
    return {rule.name: circuit.phase(health.breakers.get(rule.name, Breaker()), rule, now) for rule in rules}


def breaker_for(kind: str, device: str) -> str | None:
    """The breaker that a failure of this kind on this device counts for, if any."""
    match kind.removeprefix("proof_"):
        case "out_of_memory":
            return MEMORY
        case "timeout":
            return TIMEOUT
        case "crash" | "internal" | "compile_failed" if device.startswith("cuda"):
            return GPU
        case _:
            return None
