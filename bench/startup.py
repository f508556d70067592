"""Start-up: ``--help`` against importing Typer and rich, an unchanged compile against ``--help``."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

from bench.support import STORE, machine

REPEAT = 15
ORDINARY = ("--select", "BP0[0-3]*", "--select", "BP04[0-2]")
"""The 42 that are not stressors: two of those never return and are tried again each time."""


def main() -> None:
    python = sys.executable
    tezzeret = [python, "-m", "tezzeret_cli"]
    commands = {
        "import typer, rich": [python, "-c", "import typer, rich"],
        "tezzeret --help": [*tezzeret, "--help"],
        "compile, unchanged": [*tezzeret, "compile", "--store", str(STORE), "-q", *ORDINARY],
    }
    samples: dict[str, list[float]] = {name: [] for name in commands}
    peak = 0
    for _ in range(REPEAT):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, capture_output=True, check=False)
            samples[name].append((time.perf_counter() - started) * 1e3)
            peak = max(peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    medians = {name: statistics.median(found) for name, found in samples.items()}
    print(machine())
    for name, median in medians.items():
        print(f"{name}\t{median:.0f} ms")
    print(f"--help / imports\t{medians['tezzeret --help'] / medians['import typer, rich']:.2f}")
    print(f"unchanged compile / --help\t{medians['compile, unchanged'] / medians['tezzeret --help']:.2f}")
    print(f"peak memory of the largest\t{peak / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
