"""What a job tries next when a strategy did not work out. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tezzeret_cli.model.job import Strategy
from tezzeret_cli.model.manifest import Reason

MAY_GET_BETTER = frozenset(
    {
        *("timeout", "out_of_memory", "crash", "compile_failed", "wrong_numbers", "not_loadable", "internal"),
        *("proof_timeout", "proof_out_of_memory", "proof_crash", "proof_internal"),
    }
)
"""Reasons that another strategy may get past. A graph break or a refused module stays what it is."""


def next_rung(failed: Strategy, reason: Reason, device: str, ladder: Sequence[Strategy]) -> Strategy | None:
    """The next strategy below ``failed`` that may get past ``reason`` for a job on ``device``; ``None``
    where none can: a rung that would do the same work over again is left out."""
    names = [strategy.name for strategy in ladder]
    if reason.kind not in MAY_GET_BETTER or failed.name not in names:
        return None
    below = ladder[names.index(failed.name) + 1 :]
    return next((rung for rung in below if _work(rung, device) != _work(failed, device)), None)


def step_note(failed: Strategy, reason: Reason, rung: Strategy) -> str:
    """For the bundle and the report: what was tried, and what after it."""
    return f"{failed.name}: {reason.message}; tried with {rung.name}"


def led_to(note: str, rung: str) -> bool:
    """Whether a note tells of a step to ``rung``."""
    return note.endswith(f"; tried with {rung}")


def _work(strategy: Strategy, device: str) -> tuple[object, ...]:
    where = "cpu" if strategy.cpu_only else device
    levels = (strategy.wrapper, strategy.kernels, strategy.lines)
    return (where, strategy.extras, strategy.examples, strategy.dynamic, levels, strategy.inductor)
