"""Which batches eager serves, by what was measured in the proof. Pure, and torch-free.

A machine that does other work slows both sides down, so what counts is how the two compare when they take
turns, and only what can be told apart from noise.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from tezzeret_cli.model.job import BatchRange
from tezzeret_cli.model.manifest import StepTimes

MARGIN = 1.03
"""Eager serves a batch where the compiled step is this many times eager's, at least. It is less than the 1.05
that no step should take: what is measured is a bound, and below the truth."""

RESAMPLES = 100
"""The measured pairs are drawn again so many times, each time as many as there are."""

BELOW = 0.3
"""The part of what comes out that may be below the bound. With less, steps that are 10 % slower stay compiled
where other work disturbs them. A step that eager serves by mistake is hardly slower, and two neighbours have
to agree."""

CLEAR = 1.1
"""So many times beyond the margin, on either side, is clear enough to stop measuring."""

UNSURE = 0.02
"""The part of what comes out that may be less clear."""


def step_times(batch: int, pairs: Sequence[tuple[float, float]]) -> StepTimes:
    """What ``pairs`` of milliseconds, (compiled, eager) taken one after the other, come to."""
    return StepTimes(
        batch=batch,
        compiled_ms=round(lower_quartile([mine for mine, _ in pairs]), 6),
        eager_ms=round(lower_quartile([theirs for _, theirs in pairs]), 6),
        slower=round(at_least(pairs), 4),
        samples=len(pairs),
    )


def at_least(pairs: Sequence[tuple[float, float]]) -> float:
    """A lower bound of how many times the lower quartile of seconds that of firsts is. The same pairs give
    the same bound."""
    return _resampled(pairs)[int(RESAMPLES * BELOW)]


def is_clear(pairs: Sequence[tuple[float, float]]) -> bool:
    """Whether who is faster will hardly change with more pairs."""
    found, unsure = _resampled(pairs), int(RESAMPLES * UNSURE)
    return found[unsure] > MARGIN * CLEAR or found[-1 - unsure] < MARGIN / CLEAR


def _resampled(pairs: Sequence[tuple[float, float]]) -> list[float]:
    """How many times the lower quartile of seconds that of firsts is, in each drawing, the least first."""
    draw = random.Random(0)
    found = []
    for _ in range(RESAMPLES):
        first, second = zip(*draw.choices(pairs, k=len(pairs)), strict=True)
        found.append(lower_quartile(first) / lower_quartile(second))
    return sorted(found)


def lower_quartile(samples: Sequence[float]) -> float:
    """Of one or more samples: a quarter of them, or the first, is not above it."""
    return sorted(samples)[(len(samples) - 1) // 4]


def eager_batches(times: Sequence[StepTimes], highest: int) -> tuple[BatchRange, ...]:
    """The batches that eager serves, of those up to ``highest`` (0 where no size moves).

    Eager is faster at a measured batch where ``slower`` is above ``MARGIN``. It serves from one such batch
    to the next where there is no other between them. One alone among others is not believed: how the two
    compare changes little from a batch to the next, and noise does. What is beyond the largest measured
    batch it serves where it serves that one, and its lead did not shrink towards it. Everything else is
    served compiled.
    """
    slower = {step.batch: min(t.slower for t in times if t.batch == step.batch) for step in times}
    measured = sorted(slower)
    if len(measured) == 1:
        return tuple(BatchRange(batch, batch) for batch in measured if slower[batch] > MARGIN)
    found: list[BatchRange] = []
    for below, above in itertools.pairwise(measured):
        if slower[below] > MARGIN and slower[above] > MARGIN:
            joined = bool(found) and found[-1].max == below
            found.append(BatchRange(found.pop().min if joined else below, above))
    if found and found[-1].max == measured[-1] < highest and slower[measured[-2]] <= slower[measured[-1]]:
        found.append(BatchRange(found.pop().min, highest))
    return tuple(found)


def told(variant: str, times: Sequence[StepTimes], eager: Sequence[BatchRange]) -> str | None:
    """A line for people where eager serves some of a variant."""
    if not eager:
        return None
    if max(step.batch for step in times) == 0:
        return f"{variant}: eager is faster, and serves calls that take a gradient"
    spans = ", ".join(f"{r.min} to {r.max}" if r.max > r.min else str(r.min) for r in eager)
    return f"{variant}: eager is faster at batch {spans}, and serves calls of it that take a gradient"
