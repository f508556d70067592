"""Start-up: ``--help`` against importing Typer and rich, an unchanged compile, signatures verified, against
``--help``; on the clock, and in processor time, which other work disturbs less."""

from __future__ import annotations

import itertools
import os
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
    for turn in range(REPEAT + 1):
        for name, command in commands.items():
            clock, used, memory = _run(command)
            if turn:  # the first one may have had something to compile
                samples[name].append((clock, used))
                peak = max(peak, memory)
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


def _run(command: list[str]) -> tuple[float, float, int]:
    """Milliseconds by the clock and of processor time, and the largest size in KiB."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    clock = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return clock * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3, usage.ru_maxrss


if __name__ == "__main__":
    main()
