"""A steady training step: bundle, its libraries alone, eager and torch.compile in one process, medians and
ratios.

``python -m bench.steps [--without-compile] [ID]... [--json FILE]`` measures the store's bundles on their
factories' examples: as they are served, by the rule that may prefer eager (``serving`` in the manifest), and
with the compiled code preferred. Gradients are ``None`` before each step, as ``zero_grad`` leaves them, and
those that come in lie as the result does, as from a layer that follows. torch.compile compiles here, which
takes half a minute for each module.
"""

from __future__ import annotations

import math
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from bench.support import STORE, Figures, bundles, geometric_mean, measuring
from tezzeret_cli.model.manifest import Manifest

WITHOUT = "--without-compile"
ROUNDS = 45
TARGET_S = 0.007


def main(args: list[str]) -> None:
    if args[:1] == ["--one"]:
        print(" ".join(f"{value:.3f}" for value in measure(args[1], with_compile=len(args) == 2)))
        return
    with measuring("steps", args) as figures:
        compare(figures, args)


def compare(figures: Figures, args: list[str]) -> None:
    rest = [WITHOUT] if WITHOUT in args else []
    columns = "blueprint", "bundle us", "libraries us", "eager us", "compile us"
    ratios = "bundle/eager", "libraries/eager", "bundle/compile"
    print(*columns, *ratios, "guard us", "eager serves", sep="\t")
    rows = []
    for path, manifest in bundles([arg for arg in args if arg != WITHOUT]):
        command = [sys.executable, "-m", "bench.steps", "--one", str(path), *rest]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{manifest.blueprint_id}\tfailed: {done.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        bundle, libraries, eager, compiled, guard = map(float, done.stdout.split()[-5:])
        found = (bundle / eager, libraries / eager, bundle / compiled)
        rows.append(found)
        times = "\t".join(f"{value:.1f}" for value in (bundle, libraries, eager, compiled))
        compared = "\t".join(f"{ratio:.2f}" for ratio in found)
        name = f"{manifest.blueprint_id} {manifest.descriptor.name}"
        figures.add(
            "bundles",
            blueprint=name,
            bundle_us=bundle,
            libraries_us=libraries,
            eager_us=eager,
            compile_us=compiled,
            guard_us=guard,
        )
        print(f"{name}\t{times}\t{compared}\t{guard:.2f}\t{served(manifest)}", flush=True)
    means = [geometric_mean(ratio) for ratio in zip(*rows, strict=True)]
    print(
        f"geometric means over {len(rows)}: bundle/eager {means[0]:.3f}, libraries/eager {means[1]:.3f}, "
        f"bundle/compile {means[2]:.3f} (store {STORE})"
    )


def served(manifest: Manifest) -> str:
    """How many of the batches that the proof compared eager serves, over all variants."""
    compared = [(serving, step.batch) for serving in manifest.serving for step in serving.times]
    eager = [1 for serving, batch in compared if any(r.min <= batch <= r.max for r in serving.eager)]
    return f"{len(eager)} of {len(compared)}"


def measure(path: str, *, with_compile: bool) -> tuple[float, float, float, float, float]:
    """Microseconds of a step of each, taken in turns (not a number for torch.compile where it is left out),
    and of the guard check alone."""
    import torch

    import tezzeret_cli
    from tezzeret_cli.blueprints.construct import construct
    from tezzeret_cli.runtime.module import CALLS_BEFORE_EAGER

    bundle = tezzeret_cli.load(path)
    libraries = tezzeret_cli.load(path, on_guard_miss="raise", prefer="compiled")
    manifest = bundle.tezzeret.manifest
    torch.manual_seed(0)
    device = bundle.tezzeret.program.device
    eager, calls = construct(manifest.factory, manifest.parameters)
    eager.to(device)
    inputs = [x.to(device) for x in calls[0]]
    inputs = [x.requires_grad_() if x.is_floating_point() else x for x in inputs]
    for _ in range(CALLS_BEFORE_EAGER):
        bundle(*inputs)
    modules = [bundle, libraries, eager, *([torch.compile(eager)] if with_compile else [])]
    medians = [*in_turns(modules, inputs), math.nan]
    assert not bundle.tezzeret.guard_misses
    return medians[0], medians[1], medians[2], medians[3], _guard_us(libraries, inputs)


def in_turns(modules: Sequence[Callable[..., object]], inputs: Sequence[object]) -> list[float]:
    """Microseconds of a training step of each module, taken in turns, until the device is done; medians. That
    is processor time where one thread does them, as in the proof."""
    import torch

    from tezzeret_cli.worker.beside_eager import clock
    from tezzeret_cli.worker.reference import wait_for

    device = next((x.device for x in inputs if isinstance(x, torch.Tensor)), torch.device("cpu"))

    def trained_outputs(module: Callable[..., object]) -> list[torch.Tensor]:
        out = module(*inputs)
        return [t for t in (out if isinstance(out, tuple) else (out,)) if t.requires_grad]

    gradients = [torch.ones_like(out) for out in trained_outputs(modules[0])]

    def step(module: Callable[..., object]) -> Callable[[], None]:
        trained = [x for x in inputs if isinstance(x, torch.Tensor)]
        if isinstance(module, torch.nn.Module):
            trained += module.parameters()

        def run() -> None:
            for tensor in trained:
                tensor.grad = None
            torch.autograd.backward(trained_outputs(module), gradients)
            wait_for(device)

        return run

    steps = [step(module) for module in modules]
    for run in steps:
        for _ in range(5):
            run()
    counts = [max(1, int(TARGET_S / seconds(run, 1))) for run in steps]
    samples: list[list[float]] = [[] for _ in steps]
    turns = list(zip(steps, counts, samples, strict=True))
    order = random.Random(0)
    for _ in range(ROUNDS):
        order.shuffle(turns)  # what ran before is worth a few hundredths, of torch.compile a tenth
        for run, count, found in turns:
            found.append(seconds(run, count, clock(device)) * 1e6)
    return [statistics.median(found) for found in samples]


def seconds(run: Callable[[], object], count: int, now: Callable[[], float] = time.perf_counter) -> float:
    """Of one of ``count`` runs, in the mean, by the clock ``now``."""
    started = now()
    for _ in range(count):
        run()
    return (now() - started) / count


def _guard_us(bundle: object, inputs: list[object]) -> float:
    """What a call costs before the compiled code: reading the tensors, and recognising the pattern."""
    from tezzeret_cli.runtime import module as internals

    binding = bundle.tezzeret  # type: ignore[attr-defined]
    if not binding._patterns:
        return 0.0
    layout, pattern = binding._layout, binding._patterns[0]

    def check() -> None:
        slots = layout.tensors()
        tensors = pattern.variant.select(inputs, slots)
        assert pattern.check(*tensors)
        assert internals._still_good(pattern.variant, tensors)

    return statistics.median(seconds(check, 2000) * 1e6 for _ in range(9))


if __name__ == "__main__":
    main(sys.argv[1:])
