"""Compile strategies: data about flags and budgets, not copies of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tezzeret_cli.model.job import Strategy

AGGRESSIVE = Strategy(
    name="aggressive",
    summary="everything that buys speed, matrix products tuned by measuring; has to be allowed",
    inductor={
        "max_autotune": True,
        "max_autotune_gemm_backends": "ATEN,CPP",
        "autotune_in_subproc": False,
        "coordinate_descent_tuning": True,
    },
    wrapper="O2",
    opt_in=True,
    timeout_s=960.0,
    memory_bytes=16 << 30,
)
STANDARD = Strategy(
    name="standard",
    summary="all representative shapes, with libraries of their own where that pays",
)
FAST = Strategy(
    name="fast",
    summary="the first representative shape and a dynamic batch, cheap optimisation",
    wrapper="O0",
    kernels="O1",
    examples=1,
    extras=False,
    lines=False,
    timeout_s=65.0,
    memory_bytes=4 << 30,
)
EMERGENCY = Strategy(
    name="emergency",
    summary="as fast, for the CPU whatever was asked for, in seconds",
    wrapper="O0",
    kernels="O1",
    examples=1,
    extras=False,
    lines=False,
    precompile=False,
    cpu_only=True,
    timeout_s=10.0,
    memory_bytes=2 << 30,
)

STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy for strategy in (AGGRESSIVE, STANDARD, FAST, EMERGENCY)
}
"""The ladder, dearest first: what fails on one rung is tried on the next."""

AUTO = "auto"
"""Not a strategy: one is chosen for each job."""


def configured(
    timeouts: Mapping[str, float | None], memories: Mapping[str, int | None]
) -> dict[str, Strategy]:
    """The strategies with other budgets (seconds, bytes) where some are given by name."""
    return {
        name: msgspec.structs.replace(
            strategy,
            timeout_s=timeouts.get(name) or strategy.timeout_s,
            memory_bytes=memories.get(name) or strategy.memory_bytes,
        )
        for name, strategy in STRATEGIES.items()
    }
