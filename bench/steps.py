"""A steady training step: bundle, eager and torch.compile in one process, medians and ratios.

``python -m bench.steps [ID]... [--json FILE]`` measures the store's bundles. torch.compile compiles here,
which takes half a minute for each module.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from bench.support import STORE, Figures, bundles, geometric_mean, measuring

ROUNDS = 15
TARGET_S = 0.02


def main(args: list[str]) -> None:
    if args[:1] == ["--one"]:
        print(" ".join(f"{value:.3f}" for value in measure(args[1])))
        return
    with measuring("steps", args) as figures:
        compare(figures, args)


def compare(figures: Figures, wanted: list[str]) -> None:
    print("blueprint\tbundle us\teager us\tcompile us\tbundle/eager\tbundle/compile\tguard us")
    ratios = []
    for path, manifest in bundles(wanted):
        command = [sys.executable, "-m", "bench.steps", "--one", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{manifest.blueprint_id}\tfailed: {done.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        bundle, eager, compiled, guard = map(float, done.stdout.split()[-4:])
        ratios.append((bundle / eager, bundle / compiled))
        name = f"{manifest.blueprint_id} {manifest.descriptor.name}"
        figures.add(
            "bundles", blueprint=name, bundle_us=bundle, eager_us=eager, compile_us=compiled, guard_us=guard
        )
        shown = f"{bundle:.1f}\t{eager:.1f}\t{compiled:.1f}\t{bundle / eager:.2f}\t{bundle / compiled:.2f}"
        print(f"{name}\t{shown}\t{guard:.2f}", flush=True)
    print(
        f"geometric means over {len(ratios)}: bundle/eager {geometric_mean(r[0] for r in ratios):.3f}, "
        f"bundle/compile {geometric_mean(r[1] for r in ratios):.3f} (store {STORE})"
    )


def measure(path: str) -> tuple[float, float, float, float]:
    """Microseconds of a step of each, taken in turns, and of the guard check alone."""
    import torch

    import tezzeret_cli
    from tezzeret_cli.blueprints.construct import construct

    bundle = tezzeret_cli.load(path, on_guard_miss="raise")
    manifest = bundle.tezzeret.manifest
    torch.manual_seed(0)
    device = bundle.tezzeret.program.device
    eager, calls = construct(manifest.factory, manifest.parameters)
    eager.to(device)
    inputs = [x.to(device) for x in calls[0]]
    inputs = [x.requires_grad_() if x.is_floating_point() else x for x in inputs]
    medians = in_turns((bundle, eager, torch.compile(eager)), inputs)
    return medians[0], medians[1], medians[2], _guard_us(bundle, inputs)


def in_turns(modules: Sequence[Callable[..., object]], inputs: Sequence[object]) -> list[float]:
    """Microseconds of a training step of each module, taken in turns, until the device is done; medians."""
    import torch

    from tezzeret_cli.worker.reference import wait_for

    device = next((x.device for x in inputs if isinstance(x, torch.Tensor)), torch.device("cpu"))

    def step(module: Callable[..., object]) -> Callable[[], None]:
        def run() -> None:
            out = module(*inputs)
            outputs = out if isinstance(out, tuple) else (out,)
            sum(t.sum() for t in outputs).backward()
            wait_for(device)

        return run

    steps = [step(module) for module in modules]
    for run in steps:
        for _ in range(5):
            run()
    counts = [max(1, int(TARGET_S / seconds(run, 1))) for run in steps]
    samples: list[list[float]] = [[] for _ in steps]
    for _ in range(ROUNDS):
        for run, count, found in zip(steps, counts, samples, strict=True):
            found.append(seconds(run, count) * 1e6)
    return [statistics.median(found) for found in samples]


def seconds(run: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - started) / count


def _guard_us(bundle: object, inputs: list[object]) -> float:
    """What a call costs before the compiled code: reading the tensors, and recognising the pattern."""
    from tezzeret_cli.runtime import module as internals

    binding = bundle.tezzeret  # type: ignore[attr-defined]
    if not binding._patterns:
        return 0.0
    layout, pattern = binding._layout, binding._patterns[0]

    def check() -> None:
        slots = layout.tensors()
        tensors = internals._select(pattern.variant, inputs, slots)
        assert pattern.check(*tensors)
        assert internals._still_good(pattern.variant, tensors)

    return statistics.median(seconds(check, 2000) * 1e6 for _ in range(9))


if __name__ == "__main__":
    main(sys.argv[1:])
