"""Which batches eager serves in this process, of those that the manifest says it is faster for."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tezzeret_cli.model.job import BatchRange
from tezzeret_cli.model.manifest import Manifest, Serving

ALIKE_MS = 0.25
"""Steps that take eager no longer have too little work for threads, so these make no difference."""


def eager_here(manifest: Manifest, variant: int, device: torch.device) -> tuple[BatchRange, ...]:
    """The batches of the ``variant``-th variant that eager serves where a gradient is wanted.

    On a processor, what was measured holds for the number of threads that the proof had. With another one, as
    this process has now, only steps with little work are known to be faster in eager.
    """
    measured = manifest.timing.threads if manifest.timing else 1
    known = device.type != "cpu" or torch.get_num_threads() == measured
    return tuple(
        span
        for serving in manifest.serving
        if serving.variant == variant
        for span in (serving.eager if known else with_little_work(serving))
    )


def with_little_work(serving: Serving) -> Iterator[BatchRange]:
    """The batches that eager serves, up to the largest at which a step was so quick that threads make no
    difference."""
    largest = max((times.batch for times in serving.times if times.eager_ms <= ALIKE_MS), default=-1)
    for span in serving.eager:
        if span.min <= largest:
            yield BatchRange(span.min, min(span.max, largest))
