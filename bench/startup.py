"""Start-up: ``--help`` against importing Typer and rich, an unchanged compile, signatures verified, against
``--help``; on the clock, and in processor time, which other work disturbs less."""

from __future__ import annotations

import itertools
import resource
import statistics
import subprocess
import sys
import time

from bench.support import STORE, machine

REPEAT = 15
ORDINARY = ("--select", "BP0[0-3]*", "--select", "BP04[0-2]", "--approve", "*")
"""The 42 that are not stressors: two of those never return and are tried again each time."""


def main() -> None:
    python = sys.executable
    tezzeret = [python, "-m", "tezzeret_cli"]
    commands = {
        "import typer, rich": [python, "-c", "import typer, rich"],
        "tezzeret --help": [*tezzeret, "--help"],
        "compile, unchanged": [*tezzeret, "compile", "--store", str(STORE), "-q", *ORDINARY],
    }
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    peak = 0
    for _ in range(REPEAT):
        for name, command in commands.items():
            started, used = time.perf_counter(), _used()
            subprocess.run(command, capture_output=True, check=True)
            samples[name].append(((time.perf_counter() - started) * 1e3, (_used() - used) * 1e3))
            peak = max(peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    print(machine())
    print("", "ms", "CPU ms", sep="\t")
    medians = {
        name: [statistics.median(each[kind] for each in found) for kind in (0, 1)]
        for name, found in samples.items()
    }
    for name, (clock, used) in medians.items():
        print(f"{name}\t{clock:.0f}\t{used:.0f}")
    for below, above in itertools.pairwise(commands):
        ratios = (f"{one / other:.2f}" for one, other in zip(medians[above], medians[below], strict=True))
        print(f"{above} / {below}", *ratios, sep="\t")
    print(f"peak memory of the largest\t{peak / 1024:.0f} MiB")


def _used() -> float:
    """The processor time of the processes that were waited for, in seconds."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


if __name__ == "__main__":
    main()
