"""``stats`` over a long history: 10,000 jobs in 200 runs, and 500 bundles. What it takes, and of what."""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.forging import FACTS, job
from tests.support.manifests import draft, stage
from tezzeret_cli.model.manifest import Reason
from tezzeret_cli.model.records import JobStaged
from tezzeret_cli.model.report import JobReport, Status
from tezzeret_cli.model.run import CompileOptions, RunPlan
from tezzeret_cli.ops.history import History
from tezzeret_cli.runs.folder import DONE, Runs
from tezzeret_cli.store.layout import Store, open_store
from tezzeret_cli.store.publish import write_manifest

RUNS, JOBS, VERSIONS = 200, 50, 10
DAY = 86400.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        store = open_store(root / "store")
        runs = Runs(root / "state", store.identity.store_id)
        fill(store, runs, options.runs)
        started = time.perf_counter()
        records = sum(run.records for run in History(runs))
        print(f"{options.runs * JOBS} jobs, {records} records: read in {time.perf_counter() - started:.3f} s")
        for flags in ([], ["--json"], ["--format", "prometheus"], ["--since", "1d", "--json"]):
            command = [sys.executable, "-m", "tezzeret_cli", "stats", "--store", str(store.root)]
            command += ["--state", str(root / "state"), "--cache", str(root / "cache"), *flags]
            samples = []
            for _ in range(options.repeat):
                started = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                samples.append(time.perf_counter() - started)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            middle = statistics.median(samples)
            print(
                f"stats {' '.join(flags):22} median {middle:.3f} s, best {min(samples):.3f} s, {peak:.0f} MiB"
            )


def fill(store: Store, runs: Runs, count: int) -> None:
    """``count`` runs over ``JOBS`` jobs, and ``VERSIONS`` bundles of each. One journal is written for every
    tenth run, the others are copies of it under ids of their own."""
    now = time.time()
    made: list[Path] = []
    for number in range(count):
        created = now - (count - number) * DAY / 4
        if number % 10 == 0:
            made.append(_journal(store, runs, created))
        else:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(created))
            shutil.copytree(made[-1], runs.root / DONE / f"{stamp}-{os.urandom(4).hex()}")
    for blueprint in range(JOBS):
        for version in range(VERSIONS):
            name, text = f"BP{blueprint:03d}", f"1.0.{version}+cpu-avx2-abc123"
            folder = stage(store.bundle(name, text))
            write_manifest(folder, draft(blueprint_id=name, version=text))


def _journal(store: Store, runs: Runs, created: float) -> Path:
    jobs = tuple(job(f"BP{number:03d}") for number in range(JOBS))
    plan = RunPlan("compile", "0", "", str(store.root), "/", FACTS, CompileOptions(), jobs, created=created)
    ledger = runs.begin(plan)
    counts = {status.value: 0 for status in Status}
    for number, each in enumerate(jobs):
        part = ledger.job(number, each.key)
        status = (Status.COMPILED, Status.COMPILED, Status.FALLBACK, Status.FAILED)[number % 4]
        counts[status.value] += 1
        reason = None if status is Status.COMPILED else f"job {number} could not be compiled"
        bundle = None if status is Status.FAILED else f"bundles/BP{number:03d}/1.0.0+cpu-avx2-abc123"
        report = JobReport(
            blueprint_id=each.blueprint_id,
            version="1.0.0+cpu-avx2-abc123",
            status=status,
            strategy=("fast", "standard", "aggressive")[number % 3],
            duration_ms=1000.0 + number * 300,
            eager_fallback=status is Status.FALLBACK,
            reason=reason,
            bundle=bundle,
            name=each.descriptor.name,
            reason_kind=reason and "graph_break",
            prewarm_p50_ms=0.5,
            prewarm_p95_ms=0.7,
        )
        if status is Status.FALLBACK:
            part.retried(Reason("graph_break", "it breaks", True), None)
        if bundle:
            part.staged(JobStaged("tmp/x", bundle, "0" * 64, report))
        part.ended(report)
    ledger.ended(counts)
    folder = runs.root / DONE / ledger.run_id
    runs.put_away(ledger)
    return folder


if __name__ == "__main__":
    main()
