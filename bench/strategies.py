"""Strategies side by side: what they cost to compile with, and the steps of what they make.

``python -m bench.strategies [--stores DIR] [NAME,NAME...] [ID]... [--json FILE]`` compiles the catalogue's
ordinary blueprints, or those named, with each strategy into a store of its own below ``DIR``, headers
precompiled beforehand, one job at a time. Then it times a training step of each bundle and of eager in turns,
in one process for each blueprint.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from bench.steps import in_turns
from bench.support import ROOT, Figures, geometric_mean, measuring
from tezzeret_cli.bundle.read import read_manifest
from tezzeret_cli.model.manifest import Manifest
from tezzeret_cli.model.report import JobReport, Report, Status

NAMES = "standard,fast,emergency"
WARM = "BP002"


def main(args: list[str]) -> None:
    if args[:1] == ["--one"]:
        print(" ".join(f"{value:.3f}" for value in measure(args[1:])))
        return
    with measuring("strategies", args) as figures, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if args[:1] == ["--stores"]:
            folder, args = Path(args[1]).resolve(), args[2:]
        given = bool(args) and not args[0].startswith("BP")
        names = (args[0] if given else NAMES).split(",")
        wanted = args[1:] if given else args
        compare(figures, folder, names, wanted or ["BP00*", "BP01*", "BP02*", "BP03*", "BP04[0-2]"])


def compare(figures: Figures, folder: Path, names: list[str], wanted: list[str]) -> None:
    """Print a table over strategies, then one over blueprints."""
    made = {name: compiled(folder, name, wanted) for name in names}
    print("strategy\tcompiled\tp50 s\ttotal s\tcompilers' CPU s\tpeak MiB p50\tpeak MiB max")
    for name, jobs in made.items():
        good = [job for job in jobs if job.status is Status.COMPILED and job.strategy == name]
        times = [job.duration_ms / 1e3 for job in jobs]
        compilers = sum(manifest(folder, name, job).compiler_ms for job in jobs if job.bundle) / 1e3
        peaks = [job.peak_memory_bytes >> 20 for job in jobs]
        figures.add(
            "strategies",
            strategy=name,
            compiled=len(good),
            jobs=len(jobs),
            job_p50_s=statistics.median(times),
            job_total_s=sum(times),
            compilers_cpu_s=compilers,
            peak_p50_mib=statistics.median(peaks),
            peak_max_mib=max(peaks),
        )
        print(
            f"{name}\t{len(good)} of {len(jobs)}\t{statistics.median(times):.1f}\t{sum(times):.0f}\t"
            f"{compilers:.0f}\t{statistics.median(peaks):.0f}\t{max(peaks)}",
            flush=True,
        )
    print("blueprint", *(f"{name} us" for name in names), "eager us", sep="\t")
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for number, job in enumerate(made[names[0]]):
        rows = [made[name][number] for name in names]
        if any(row.status is not Status.COMPILED for row in rows):
            continue
        paths = [str(folder / name / str(row.bundle)) for name, row in zip(names, rows, strict=True)]
        command = [sys.executable, "-m", "bench.strategies", "--one", *paths]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{job.blueprint_id}\tfailed: {done.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        *bundles, eager = map(float, done.stdout.split()[-len(names) - 1 :])
        for name, value in zip(names, bundles, strict=True):
            ratios[name].append(value / eager)
        title = f"{job.blueprint_id} {job.name}"
        steps = {f"{name}_us": value for name, value in zip(names, bundles, strict=True)}
        figures.add("steps", blueprint=title, **steps, eager_us=eager)
        print(
            title,
            *(f"{value:.1f}" for value in (*bundles, eager)),
            sep="\t",
            flush=True,
        )
    for name, found in ratios.items():
        figures.add("ratios", strategy=name, step_to_eager=geometric_mean(found), blueprints=len(found))
        print(f"{name}: step / eager, geometric mean over {len(found)}: {geometric_mean(found):.3f}")


def compiled(folder: Path, name: str, wanted: list[str]) -> list[JobReport]:
    """The reports of a run with one strategy, headers precompiled before."""
    common = ["--strategy", name, "--allow-aggressive", "--approve", "*", "-j", "1", "--json"]
    environment = {
        **os.environ,
        "TEZZERET_CACHE": str(folder / f"cache-{name}"),
        "TEZZERET_STATE": str(folder / f"state-{name}"),
        "TEZZERET_TIMEOUT_FAILURES": "1000",
    }
    base = [sys.executable, "-m", "tezzeret_cli", "compile", *common]
    selected = [part for glob in wanted for part in ("--select", glob)]
    for store, what in ((f"warm-{name}", ["--select", WARM]), (name, selected)):
        done = subprocess.run(
            [*base, "--store", str(folder / store), *what],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            check=False,
        )
        if done.returncode not in (0, 3):
            raise RuntimeError(done.stderr.decode()[-2000:])
    return list(msgspec.json.decode(done.stdout, type=Report).jobs)


def manifest(folder: Path, name: str, job: JobReport) -> Manifest:
    return read_manifest(folder / name / str(job.bundle))[0]


def measure(paths: list[str]) -> list[float]:
    """Microseconds of a step of each bundle and of eager, taken in turns."""
    import torch

    import tezzeret_cli
    from tezzeret_cli.blueprints.construct import construct

    bundles = [tezzeret_cli.load(path, on_guard_miss="raise") for path in paths]
    made = bundles[0].tezzeret.manifest
    torch.manual_seed(0)
    eager, calls = construct(made.factory, made.parameters)
    inputs = [x.requires_grad_() if x.is_floating_point() else x for x in calls[0]]
    return in_turns((*bundles, eager), inputs)


if __name__ == "__main__":
    main(sys.argv[1:])
