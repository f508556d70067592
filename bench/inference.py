"""A call without gradients: through a library of its own, and through the one that saves activations.

``python -m bench.inference [ID]...`` measures the store's bundles, the largest batch in turn with the
example's own. ``worth_inference`` in ``tezzeret_cli/worker/lower.py`` decides which variants get a library of
their own; let it return true to measure all.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

import tezzeret_cli
from bench.steps import seconds
from bench.support import bundles, geometric_mean, machine
from tezzeret_cli.blueprints.construct import construct
from tezzeret_cli.runtime.module import BundleModule

ROUNDS = 15
TARGET_S = 0.02
BATCHES = (None, 256)


def main(wanted: list[str]) -> None:
    print(machine())
    print("blueprint\tbatch\tsaved KiB\treturned KiB\town us\tforward us\town / forward\teager us")
    ratios = []
    for path, manifest in bundles(wanted):
        if not any(variant.inference for variant in manifest.variants):
            continue
        module = tezzeret_cli.load(path, on_guard_miss="raise")
        eager, calls = construct(manifest.factory, manifest.parameters)
        for batch in BATCHES:
            inputs = resized(calls[0], batch)
            own, forward, saved, returned = compare(module, inputs)
            plain = microseconds([functools.partial(eager, *inputs)])[0]
            ratios.append(own / forward)
            print(
                f"{manifest.blueprint_id} {manifest.descriptor.name}\t{len(inputs[0])}\t{saved / 1024:.1f}\t"
                f"{returned / 1024:.1f}\t{own:.1f}\t{forward:.1f}\t{own / forward:.2f}\t{plain:.1f}",
                flush=True,
            )
    print(f"geometric mean of own / forward: {geometric_mean(ratios):.3f} over {len(ratios)}")


def resized(call: Sequence[object], batch: int | None) -> list[Tensor]:
    tensors = [value for value in call if isinstance(value, Tensor)]
    if batch is None:
        return tensors
    size = len(tensors[0])
    rows = torch.arange(batch) % size
    return [tensor[rows] if len(tensor) == size else tensor for tensor in tensors]


def compare(module: BundleModule, inputs: Sequence[Tensor]) -> tuple[float, float, int, int]:
    """Microseconds of a call through each library; bytes that the forward saves, and that it returns."""
    with torch.no_grad():
        module(*inputs)
    pattern = module.tezzeret._patterns[0]
    step = pattern.variant._step
    assert step is not None
    tensors = [*inputs, *[module.tezzeret._layout.tensors()[i] for i in pattern.variant.slots]]
    results = step.forward(step.forward_arguments(tensors))
    sizes = [result.numel() * result.element_size() for result in results]
    alone = dataclasses.replace(step, inference=step.forward, inference_arguments=step.forward_arguments)
    own, forward = microseconds([lambda: step.infer(tensors), lambda: alone.infer(tensors)])
    return own, forward, sum(sizes[step.outputs :]), sum(sizes[: step.outputs])


def microseconds(runs: Sequence[Callable[[], object]]) -> list[float]:
    """Medians, taken in turns."""
    with torch.no_grad():
        counts = [max(1, int(TARGET_S / min(seconds(run, 1) for _ in range(3)))) for run in runs]
        samples: list[list[float]] = [[] for _ in runs]
        for _ in range(ROUNDS):
            for run, count, found in zip(runs, counts, samples, strict=True):
                found.append(seconds(run, count) * 1e6)
    return [statistics.median(found) for found in samples]


if __name__ == "__main__":
    main(sys.argv[1:])
