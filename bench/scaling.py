"""Jobs side by side: ``tezzeret compile --jobs N`` on N cores beside one job on one core.

``python -m bench.scaling [--jobs N] [ID]...`` compiles the catalogue's ordinary blueprints, or those named,
with one job on one core and with N on N (by default 2), each from an empty cache in which headers are
compiled beforehand, in turns.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

from bench.support import machine, option, ordinary
from bench.throughput import WARM, tezzeret, timed

TURNS = 2


def main(args: list[str]) -> None:
    jobs = int(option(args, "--jobs", "2"))
    wanted = args or ordinary()
    wanted = [name for name in wanted if name != WARM]
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < jobs:
        sys.exit(f"{jobs} jobs need as many cores, and there are {len(cores)}")
    print(machine(), f"{len(wanted)} blueprints", sep="; ")
    found: dict[int, list[float]] = {1: [], jobs: []}
    for _ in range(TURNS):
        for count, samples in found.items():
            os.sched_setaffinity(0, cores[:count])
            with tempfile.TemporaryDirectory() as folder:
                run = tezzeret(str(count))
                timed(run, Path(folder), [WARM])
                seconds, failed = timed(run, Path(folder), wanted)
            samples.append(seconds)
            made = len(wanted) - len(failed)
            print(f"{count} jobs, {count} cores\t{seconds:.1f} s\t{made} made", flush=True)
    one, many = (statistics.median(samples) for samples in found.values())
    print(f"{jobs} jobs are {one / many:.2f} times as fast as one")


if __name__ == "__main__":
    main(sys.argv[1:])
