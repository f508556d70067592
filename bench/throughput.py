"""Compiling the catalogue: ``tezzeret compile`` beside the stock loops, each as an expert would write it.

``python -m bench.throughput [--jobs N] [--device DEVICE] [ID]... [--json FILE]`` compiles the catalogue's
ordinary blueprints, or those named, four times, each way from an empty cache of its own: with Tezzeret; in
one process with ``aot_compile`` and ``save_compiled_function`` (artefacts that train in another process);
the same for a batch that may move, and once more for calls without gradients; in one with
``aoti_compile_and_package`` (forward alone). The first and the last stock loop compile one static shape.
None proves anything; Tezzeret compiles for every batch size from 1 to 1024, train and eval, and proves each
bundle in a process of its own.

Each way first compiles ``WARM``, which leaves compiled headers and the like behind: the rest is what a warm
machine takes, both together are a cold one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench.support import BLOCK, Figures, apart, measuring, option, ordinary
from tezzeret_cli.model.report import Report

WARM = "BP005"

PREPARE = """
from pathlib import Path
from tezzeret_cli.blueprints.construct import construct
from tezzeret_cli.blueprints.resolve import Resolver
from tezzeret_cli.leyline.descriptors import builtin_catalogue
from tezzeret_cli.plan import default_value
descriptors = {d.blueprint_id: d for d in builtin_catalogue()}
def prepared(name):
    descriptor = descriptors[name]
    defaults = {key: default_value(name, key, b) for key, b in descriptor.allowed_parameters.items()}
    torch.manual_seed(0)
    module, calls = construct(Resolver().resolve(descriptor, None), defaults)
    inputs = [x.to(device) for x in calls[0]]
    inputs = [x.requires_grad_() if GRADIENTS and x.is_floating_point() else x for x in inputs]
    return Block(module.to(device)), tuple(inputs)
folder, device = Path(sys.argv[1]), sys.argv[2]
failed = {}
for name in sys.argv[3:]:
    try:
        compile_one(*prepared(name), folder / name)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    torch._dynamo.reset()
print(json.dumps(failed))
"""

SAVED = """
import json, sys, torch
GRADIENTS = True
def saved(block, inputs, path):
    compiled = torch.compile(block, fullgraph=True).forward.aot_compile((inputs, {}))
    compiled.save_compiled_function(str(path), external_data={"block": block})
"""

TRAINING = (
    SAVED
    + """
compile_one = saved
"""
    + BLOCK
    + PREPARE
)

ANY_BATCH = (
    SAVED
    + """
def compile_one(block, inputs, path):
    for x in inputs:
        torch._dynamo.maybe_mark_dynamic(x, 0)
    saved(block, inputs, path)
    with torch.no_grad():
        saved(block, inputs, f"{path}.no_grad")
"""
    + BLOCK
    + PREPARE
)

FORWARD = (
    """
import json, sys, torch
GRADIENTS = False
def compile_one(block, inputs, path):
    with torch.no_grad():
        program = torch.export.export(block, inputs)
    torch._inductor.aoti_compile_and_package(program, package_path=f"{path}.pt2")
"""
    + BLOCK
    + PREPARE
)


def main(args: list[str]) -> None:
    with measuring("throughput", args) as figures:
        jobs = option(args, "--jobs", str(os.cpu_count() or 1))
        device = option(args, "--device", "cpu")
        compare(figures, jobs, device, args or ordinary())


def compare(figures: Figures, jobs: str, device: str, wanted: list[str]) -> None:
    rest = [name for name in wanted if name != WARM]
    print(f"{len(rest)} blueprints beside {WARM}, {jobs} jobs, {device}")
    print("way\tcold s\twarm s\tseconds each, warm\tmade")
    found = {}
    for way, run in {
        "tezzeret compile": tezzeret(jobs, device),
        "aot_compile, save_compiled_function": stock(TRAINING, device),
        "the same, any batch, and without gradients": stock(ANY_BATCH, device),
        "aoti_compile_and_package (forward alone)": stock(FORWARD, device),
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            first, _ = timed(run, Path(folder), [WARM])
            seconds, failed = timed(run, Path(folder), rest)
        found[way] = seconds
        figures.add(
            "ways", way=way, cold_s=first + seconds, warm_s=seconds, blueprints=len(rest), failed=len(failed)
        )
        made = f"{len(rest) - len(failed)} of {len(rest)}" + "".join(f"; {n}: {r}" for n, r in failed.items())
        print(f"{way}\t{first + seconds:.1f}\t{seconds:.1f}\t{seconds / len(rest):.1f}\t{made}", flush=True)
    ours, training, any_batch, forward = found.values()
    print(
        f"warm: {training / ours:.2f} times the training loop, {any_batch / ours:.2f} times the one for any "
        f"batch, {forward / ours:.2f} times forward alone"
    )


Run = Callable[[Path, Sequence[str]], dict[str, str]]


def timed(run: Run, folder: Path, wanted: Sequence[str]) -> tuple[float, dict[str, str]]:
    """Seconds that it took, and what it could not make, with the reasons."""
    started = time.monotonic()
    failed = run(folder, wanted)
    return time.monotonic() - started, failed


def tezzeret(jobs: str, device: str = "cpu") -> Run:
    """``tezzeret compile`` into a store in the folder."""

    def run(folder: Path, wanted: Sequence[str]) -> dict[str, str]:
        selected = [part for name in wanted for part in ("--select", name)]
        command = [
            sys.executable,
            "-m",
            "tezzeret_cli",
            "compile",
            "--store",
            str(folder / "store"),
            "--json",
        ]
        command += ["--sign", "none", "--jobs", jobs, "--device", device, "--approve", "*"]
        done = _run(command + selected, folder)
        report = msgspec.json.decode(done, type=Report)
        return {job.blueprint_id: job.reason or "" for job in report.jobs if job.status != "compiled"}

    return run


def stock(code: str, device: str = "cpu") -> Run:
    """``TRAINING``, ``ANY_BATCH`` or ``FORWARD`` in one process, into the folder ``artefacts``."""

    def run(folder: Path, wanted: Sequence[str]) -> dict[str, str]:
        artefacts = folder / "artefacts"
        artefacts.mkdir(exist_ok=True)
        failed: dict[str, str] = json.loads(
            _run([sys.executable, "-c", code, str(artefacts), device, *wanted], folder).splitlines()[-1]
        )
        return failed

    return run


def _run(command: Sequence[str], folder: Path) -> str:
    """What it prints, run with caches below ``folder`` only. Raises ``RuntimeError`` where it failed, but for
    blueprints that fell back."""
    done = subprocess.run(command, env=apart(folder), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout


if __name__ == "__main__":
    main(sys.argv[1:])
