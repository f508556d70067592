"""Representative shapes: which batches to compile for, which to try, and what a variant serves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tezzeret_cli.model.job import BatchRange, Job
from tezzeret_cli.model.manifest import Extent, Symbolic, TensorGuard, Variant
from tezzeret_cli.worker.capture import batch_inputs


def batch_ladder(job: Job, tensors: Sequence[Tensor]) -> list[BatchRange | None]:
    if job.batch is None or not job.strategy.dynamic or not batch_inputs(tensors):
        return [None]
    size = tensors[0].shape[0]
    if not max(job.batch.min, 2) <= size <= job.batch.max:
        return [None]
    wide = job.batch
    narrow = [BatchRange(2, wide.max)] if wide.min < 2 else []
    return [wide, *narrow, None]


def smallest(guards: Sequence[TensorGuard]) -> int:
    """The smallest batch that the guards let pass."""
    moving = [extent.min for guard in guards for extent in guard.shape if isinstance(extent, Symbolic)]
    return max(moving, default=1)


def batches(tensors: Sequence[Tensor], ranges: Sequence[BatchRange]) -> list[list[Tensor]]:
    """The example itself and, for a dynamic batch, the same rows at other batch sizes."""
    if not ranges:
        return [list(tensors)]
    own = tensors[0].shape[0]
    low, high = ranges[0].min, ranges[0].max
    sizes = sorted({own, low, min(high, max(low, 3)), min(high, max(low, 2 * own + 1))})
    return [at_batch(tensors, size) for size in sizes]


def at_batch(tensors: Sequence[Tensor], size: int) -> list[Tensor]:
    """The same rows, as often as it takes, in a batch of ``size``."""
    moving = {id(tensor) for tensor in batch_inputs(tensors)}
    rows = torch.arange(size) % tensors[0].shape[0]
    return [tensor[rows] if id(tensor) in moving else tensor for tensor in tensors]


def covered(guards: Sequence[TensorGuard], variants: Sequence[Variant], tensors: Sequence[Tensor]) -> bool:
    """Whether some variant already serves inputs of these shapes."""
    for number in range(len(variants)):
        mine = [guard for guard in guards if guard.variant == number and guard.kind.value == "input"]
        if mine and all(_fits(guard.shape, tensors[guard.index].shape) for guard in mine):
            return True
    return False


def _fits(extents: Sequence[Extent], shape: Sequence[int]) -> bool:
    if len(extents) != len(shape):
        return False
    pairs = zip(extents, shape, strict=True)
    return all(
        e.min * e.factor <= size <= e.max * e.factor if isinstance(e, Symbolic) else e == size
        for e, size in pairs
    )


def summary(guard: TensorGuard) -> str:
    sizes = []
    for extent in guard.shape:
        if isinstance(extent, Symbolic):
            factor = f"{extent.factor}*" if extent.factor != 1 else ""
            sizes.append(f"{factor}[{extent.min}..{extent.max}]")
        else:
            sizes.append(str(extent))
    return f"{guard.dtype}[{'x'.join(sizes)}]"
