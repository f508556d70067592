"""A large catalogue: what a job costs when there are ten times as many.

``python -m bench.catalogue [--sets N] [--strategy NAME] [ID]...`` compiles the catalogue's ordinary
blueprints, or those named, once each, and then with N sets of parameter values each (by default 10, spread
over their bounds; whole numbers repeat where the bounds hold fewer), both from empty caches. Processor time
is that of the forge and of all processes that it started; the forge's own is that of its parent process,
and its peak memory too. Where sets have a graph in common, its code is compiled once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec

from bench.support import apart, machine, option, ordinary
from tezzeret_cli.leyline.descriptors import builtin_catalogue, catalogue_to_binary
from tezzeret_cli.model.descriptor import Bounds, Descriptor
from tezzeret_cli.model.report import Report
from tezzeret_cli.plan import default_value, is_whole

MIB = 1 << 20


class Cost(msgspec.Struct):
    """Of one run. Seconds; bytes of the forge's parent process."""

    jobs: int
    wall: float
    processors: float
    forge: float
    peak: int


def main(args: list[str]) -> None:
    sets, strategy = int(option(args, "--sets", "10")), option(args, "--strategy", "standard")
    chosen = [d for d in builtin_catalogue() if d.blueprint_id in (args or ordinary())]
    print(machine(), strategy, sep="; ")
    print("jobs\twall s\tCPU s\tCPU s a job\tforge's own CPU ms a job\tforge's peak MiB\tended")
    few = run([with_values(d) for d in chosen], strategy)
    many = run([with_values(d, n, sets) for n in range(sets) for d in chosen], strategy)
    times = many.jobs / few.jobs
    print(
        f"{times:g} times as many jobs: processor time {many.processors / few.processors:.2f} times, "
        f"the forge's own {many.forge / few.forge:.2f} times, "
        f"its peak memory {(many.peak - few.peak) / MIB:+.1f} MiB"
    )


def with_values(descriptor: Descriptor, number: int | None = None, sets: int = 1) -> Descriptor:
    """``descriptor`` with nothing to choose: default values, or the ``number``-th of ``sets`` under an id of
    its own."""
    fixed = {}
    for name, bounds in descriptor.allowed_parameters.items():
        if number is None:
            value = default_value(descriptor.blueprint_id, name, bounds)
        else:
            value = bounds.min_value + (bounds.max_value - bounds.min_value) * number / max(sets - 1, 1)
            if is_whole(descriptor.blueprint_id, name):
                value = float(round(value))
        fixed[name] = Bounds(value, value)
    name = descriptor.blueprint_id if number is None else f"{descriptor.blueprint_id}-{number:03}"
    return msgspec.structs.replace(descriptor, blueprint_id=name, allowed_parameters=fixed)


def run(descriptors: list[Descriptor], strategy: str) -> Cost:
    """What compiling ``descriptors`` cost. Raises ``RuntimeError`` where the forge failed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalogue = folder / "catalogue.binpb"
        catalogue.write_bytes(catalogue_to_binary(descriptors))
        command = [sys.executable, "-m", "tezzeret_cli", "compile", str(catalogue), "--json"]
        command += ["--store", str(folder / "store"), "--approve", "*", "--strategy", strategy]
        started = time.monotonic()
        with (folder / "report.json").open("wb") as report, (folder / "errors").open("wb") as errors:
            forge = subprocess.Popen(command, env=apart(folder), stdout=report, stderr=errors)
            own, peak = 0.0, 0
            while os.waitid(os.P_PID, forge.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                time.sleep(0.5)
                own, peak = look(forge.pid, own, peak)
            own, peak = look(forge.pid, own, peak)
            _, status, usage = os.wait4(forge.pid, 0)
        wall = time.monotonic() - started
        if (code := os.waitstatus_to_exitcode(status)) not in (0, 3):
            raise RuntimeError(f"{code}: {(folder / 'errors').read_text()[-2000:]}")
        made = msgspec.json.decode((folder / "report.json").read_bytes(), type=Report)
    cost = Cost(len(made.jobs), wall, usage.ru_utime + usage.ru_stime, own, peak)
    ended = ", ".join(f"{count} {status}" for status, count in Counter(j.status for j in made.jobs).items())
    print(
        f"{cost.jobs}\t{wall:.0f}\t{cost.processors:.0f}\t{cost.processors / cost.jobs:.2f}\t"
        f"{own / cost.jobs * 1e3:.1f}\t{peak / MIB:.1f}\t{ended}",
        flush=True,
    )
    return cost


def look(pid: int, own: float, peak: int) -> tuple[float, int]:
    """Processor seconds of a process without its children, and its peak of resident bytes; what was seen
    before where it has ended and its memory is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = max(own, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
    high = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()
    return own, int(high[0]) * 1024 if high else peak


if __name__ == "__main__":
    main(sys.argv[1:])
