"""The journal: durable appends against the device's own limit, groups, and cold recovery.

``python -m bench.journal [FOLDER]`` writes to a new folder in ``FOLDER`` (default: the current one, for it
should be on the disk that is meant). The device's limit is a file that was written before, overwritten with
O_DSYNC in pieces of the same size. A file that grows costs more, as the filesystem must keep its length: the
bare append is a loop of O_DSYNC writes of the same sizes at the same offsets. Both files have their blocks
reserved, for one that the filesystem puts together of pieces is slower by a quarter. The three take turns, in
every order, and a ratio is the median over turns: the disk's speed drifts, within a turn it hardly does. Each
recovery is a fresh process that opens a journal whose pages were dropped. The last line is what journalling
adds to a run over the built-in catalogue: everything that it puts on record, without the work in between.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.support import ROOT, machine
from tezzeret_cli.blueprints.resolve import Resolver
from tezzeret_cli.keys import host_facts, with_key
from tezzeret_cli.leyline.descriptors import builtin_catalogue
from tezzeret_cli.model.job import BatchRange
from tezzeret_cli.model.records import JobStaged
from tezzeret_cli.model.report import JobReport, Status
from tezzeret_cli.model.run import CompileOptions, RunPlan
from tezzeret_cli.plan import Wishes, make_plan
from tezzeret_cli.profile import Profile
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.strategies import STRATEGIES
from tezzeret_cli.wal.frame import HEADER, Entry, Type
from tezzeret_cli.wal.journal import Journal

RECORD = 512
"""Bytes of a frame, its header included."""
GROUPS = (1, 8, 64)
FILES, TURN = 8, 25
RECOVERIES = (100_000, 1_000_000)
REPEAT = 3
TXN = bytes(range(16))
FALLOC_FL_KEEP_SIZE = 1


def main(args: list[str]) -> None:
    if args[:1] == ["--recover"]:
        print(json.dumps(recover(Path(args[1]))))
        return
    print(machine())
    with tempfile.TemporaryDirectory(dir=args[0] if args else ".", prefix=".bench-journal-") as name:
        folder = Path(name)
        print("records per write\tjournal us\tdevice us\tbare append us\tdevice / journal\tbare / journal")
        for group in GROUPS:
            turns = appends(folder, group)
            us = (statistics.median(side) for side in zip(*turns, strict=True))
            device, bare = (statistics.median(turn[side] / turn[0] for turn in turns) for side in (1, 2))
            print(group, *(f"{value:.1f}" for value in us), f"{device:.2f}\t{bare:.2f}", sep="\t", flush=True)
        print("records\tcold recovery s\tpeak MiB\tMiB over an empty one")
        empty = recovery(folder, 0)[1]
        for count in RECOVERIES:
            seconds, peak = recovery(folder, count)
            print(f"{count}\t{seconds:.2f}\t{peak:.0f}\t{peak - empty:.0f}", flush=True)
        times = [catalogue_run(folder / f"state-{turn}") for turn in range(2 * REPEAT + 1)]
        print(f"the records of a run over the catalogue\t{statistics.median(times):.3f} s")


def appends(folder: Path, group: int) -> list[tuple[float, float, float]]:
    """Microseconds of a durable write of ``group`` records, for each turn the medians of the journal, the
    device and a file.
    """
    entries = [Entry(Type.DATA, TXN, b"x" * (RECORD - HEADER))] * group
    turns = []
    for number in range(FILES):
        part = folder / f"group-{group}-{number}"
        part.mkdir()
        turns += _appends(part, entries)
    return turns


def _appends(folder: Path, entries: list[Entry]) -> list[tuple[float, float, float]]:
    """The three sides in turns, each with a file of its own. A bare append stands at the offset that the
    journal's has, for one that begins in the middle of a page writes a page more."""
    size = RECORD * len(entries)
    piece = os.urandom(size)
    (folder / "raw").write_bytes(os.urandom(size * TURN))
    raw = os.open(folder / "raw", os.O_WRONLY | os.O_DSYNC)
    os.fsync(raw)
    bare = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_DSYNC)
    turns = []
    with Journal.open(folder / "journal") as journal:
        journal.append(entries)
        (segment,) = (folder / "journal").glob("*.wal")
        os.write(bare, bytes(segment.stat().st_size))
        for path in (segment, folder / "bare"):
            _reserve(path, size * TURN * 8)
        sides = (
            lambda: journal.append(entries),
            lambda: os.write(raw, piece),
            lambda: os.write(bare, piece),
        )
        for order in itertools.permutations(range(len(sides))):
            os.lseek(raw, 0, os.SEEK_SET)
            found = {side: _turn(sides[side]) for side in order}
            turns.append((found[0], found[1], found[2]))
    os.close(raw)
    os.close(bare)
    return turns


def _reserve(path: Path, size: int) -> None:
    """Give a file its blocks beforehand, and leave its length as it is."""
    descriptor = os.open(path, os.O_WRONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.fallocate(descriptor, FALLOC_FL_KEEP_SIZE, ctypes.c_long(0), ctypes.c_long(size))
    os.close(descriptor)
    if failed:
        raise OSError(ctypes.get_errno(), "the filesystem reserves no blocks")


def _turn(run: Callable[[], object]) -> float:
    """The median of microseconds."""
    samples = []
    for _ in range(TURN):
        started = time.perf_counter()
        run()
        samples.append((time.perf_counter() - started) * 1e6)
    return statistics.median(samples)


def catalogue_run(state: Path) -> float:
    """Seconds to put a whole run over the built-in catalogue on record."""
    wishes = Wishes(strategies=STRATEGIES, strategy="standard", device="cpu")
    planned = make_plan(builtin_catalogue(), Profile(), wishes, Resolver().resolve, lambda _: BatchRange())
    facts = host_facts(os.environ)
    jobs = tuple(with_key(job, facts) for job in planned)
    plan = RunPlan("compile", "bench", "store", "/store", "/", facts, CompileOptions(), jobs)
    runs = Runs(state, "store")
    started = time.perf_counter()
    ledger = runs.begin(plan)
    for number, job in enumerate(jobs):
        bundle = f"bundles/{job.blueprint_id}/1.0.0+cpu-avx512-012345"
        report = JobReport(job.blueprint_id, "1.0.0", Status.COMPILED, "standard", 1.0, False, None, bundle)
        part = ledger.job(number, job.key)
        part.staged(JobStaged(f"tmp/run/{number}", bundle, "0" * 64, report))
        part.ended(report)
    ledger.ended({"compiled": len(jobs)})
    runs.put_away(ledger)
    return time.perf_counter() - started


def recovery(folder: Path, count: int) -> tuple[float, float]:
    """Medians of seconds and peak MiB of opening a journal of ``count`` records, each time a fresh copy."""
    source = folder / f"records-{count}"
    entries = [Entry(Type.DATA, TXN, b"x" * (RECORD - HEADER))] * 1000
    with Journal.open(source) as journal:
        for _ in range(count // len(entries)):
            journal.append(entries)
    found = []
    for _ in range(REPEAT):
        copy = folder / "copy"
        shutil.copytree(source, copy)
        for path in copy.glob("*.wal"):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
        command = [sys.executable, "-m", "bench.journal", "--recover", str(copy)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        result = json.loads(done.stdout)
        assert result["records"] == count
        found.append((result["seconds"], result["peak"]))
        shutil.rmtree(copy)
    shutil.rmtree(source)
    return statistics.median(s for s, _ in found), statistics.median(p for _, p in found)


def recover(folder: Path) -> dict[str, float]:
    """Open a journal once, counting its records."""
    count = 0

    def replay(_: object) -> None:
        nonlocal count
        count += 1

    started = time.perf_counter()
    journal = Journal.open(folder, replay=replay)
    seconds = time.perf_counter() - started
    journal.close()
    return {"seconds": seconds, "peak": _peak_mib(), "records": count}


def _peak_mib() -> float:
    """This program's own peak: getrusage's starts at what the parent held."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
