"""From a hung child's deadline to its last process gone.

``python -m bench.containment [ROUNDS]`` runs children that never end on their own, two at a time as a run on
two cores does, with a deadline of half a second. A guardian reports when everything that its child started is
gone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from bench.support import ROOT, machine
from tezzeret_cli.worker.pool import WorkerPool
from tezzeret_cli.worker.task import BUILDER, Limits, Task, TaskEnded, Template, TimedOut

DEADLINE_S = 0.5
AT_ONCE = 2
KINDS = ("sleeps", "spins", "spins_in_c", "ignores_signals", "leaves_daemons")


def sleeps(payload: bytes, stage: Callable[[str], None]) -> NoReturn:
    while True:
        time.sleep(1)


def spins(payload: bytes, stage: Callable[[str], None]) -> NoReturn:
    while True:
        pass


def spins_in_c(payload: bytes, stage: Callable[[str], None]) -> NoReturn:
    """With Python's lock held."""
    ctypes.PyDLL(None).sleep(1000)
    sleeps(payload, stage)


def ignores_signals(payload: bytes, stage: Callable[[str], None]) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sleeps(payload, stage)


def leaves_daemons(payload: bytes, stage: Callable[[str], None]) -> NoReturn:
    """Twenty processes in sessions of their own, whose parents are gone."""
    for _ in range(20):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                sleeps(payload, stage)
            os._exit(0)
        os.wait()
    sleeps(payload, stage)


def main(args: list[str]) -> None:
    rounds = int(args[0]) if args else 50
    print(machine())
    print(f"milliseconds after the deadline of {DEADLINE_S:g} s, {rounds} of each, {AT_ONCE} at a time")
    print("child\tp50\tp99\tworst")
    everything: list[float] = []
    template = Template(("bench.containment",), {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)})
    with tempfile.TemporaryDirectory() as folder, WorkerPool({BUILDER: template}) as pool:
        for kind in KINDS:
            found = measure(pool, kind, rounds, Path(folder))
            everything += found
            print(f"{kind}\t{statistics.median(found):.0f}\t{_p99(found):.0f}\t{max(found):.0f}", flush=True)
    print(f"all\t{statistics.median(everything):.0f}\t{_p99(everything):.0f}\t{max(everything):.0f}")


def measure(pool: WorkerPool, kind: str, rounds: int, folder: Path) -> list[float]:
    """Milliseconds from the deadline to the report that nothing is left."""
    found: list[float] = []
    started = ended = 0
    while ended < rounds:
        while started < rounds and started - ended < AT_ONCE:
            pool.start(_task(started, kind, folder))
            started += 1
        for event in pool.wait(1):
            if isinstance(event, TaskEnded):
                ended += 1
                if not isinstance(event.ending, TimedOut):
                    raise RuntimeError(f"{kind} ended otherwise: {event.ending}")
                found.append((event.duration_s - DEADLINE_S) * 1e3)
    return found


def _task(number: int, kind: str, folder: Path) -> Task:
    return Task(
        id=number,
        entry=f"bench.containment:{kind}",
        payload=b"",
        limits=Limits(DEADLINE_S, 1 << 30),
        workdir=str(folder),
        log=str(folder / "log"),
    )


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]


if __name__ == "__main__":
    main(sys.argv[1:])
