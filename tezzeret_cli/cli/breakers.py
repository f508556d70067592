"""The rules of the circuit breakers, from the settings."""

from __future__ import annotations

from tezzeret_cli.model.health import BreakerRule
from tezzeret_cli.settings import Settings


def breaker_rules(settings: Settings) -> tuple[BreakerRule, ...]:
    """One rule for each breaker."""
    return (
        BreakerRule("memory", settings.memory_failures, settings.memory_cooldown_s),
        BreakerRule("gpu", settings.gpu_failures, settings.gpu_cooldown_s),
        BreakerRule("timeout", settings.timeout_failures, settings.timeout_cooldown_s),
    )
