"""What telemetry costs: the events of one compiled job through the spool, with and without resources."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.forging import job
from tezzeret_cli.model.events import JobFinished, JobStage, JobStarted
from tezzeret_cli.model.report import JobReport, Status
from tezzeret_cli.store.layout import open_store
from tezzeret_cli.telemetry import resources
from tezzeret_cli.telemetry.oona import Bus, Publisher
from tezzeret_cli.telemetry.spool import Spool

JOBS = 2000
STAGES = 10


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = open_store(Path(name) / "store").root
        spool = Spool(root, 1 << 30, print)
        wanted = job("BP001")
        report = JobReport(
            "BP001",
            "1.0.0+a",
            Status.COMPILED,
            "standard",
            5000.0,
            False,
            None,
            "bundles/BP001/1.0.0+a",
            prewarm_p50_ms=1.0,
            prewarm_p95_ms=2.0,
        )
        events = [
            JobStarted(0, wanted.blueprint_id, wanted.descriptor.name, "standard"),
            *(JobStage(0, f"stage {number}") for number in range(STAGES)),
            JobFinished(0, report),
        ]
        samples = []
        for _ in range(JOBS):
            started = time.perf_counter()
            for event in events:
                spool.on_event(event)
            samples.append((time.perf_counter() - started) * 1e3)
        used = []
        for _ in range(200):
            started = time.perf_counter()
            resources.sample()
            used.append((time.perf_counter() - started) * 1e3)
        middle = statistics.median(samples)
        size = sum(path.stat().st_size for path in (root / "telemetry").iterdir()) / JOBS
        high = sorted(samples)[int(JOBS * 0.99)]
        print(f"one job: median {middle:.3f} ms, p99 {high:.3f} ms, {size:.0f} bytes")
        print(f"of it resources: median {statistics.median(used):.3f} ms")
        print(f"of a job of 1 s: {middle / 10:.3f} %")
        if shutil.which("redis-server"):
            lines, seconds = publish(root, Path(name))
            print(f"into a local Redis: {lines / seconds:.0f} packets/s ({lines} lines in {seconds:.2f} s)")


def publish(root: Path, folder: Path) -> tuple[int, float]:
    """Send the whole spool into a Redis of its own; how many lines, and the seconds that took."""
    socket = folder / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            time.sleep(0.05)
        publisher = Publisher(root, Bus(f"unix://{socket}"))
        started = time.perf_counter()
        count = publisher.flush(600.0)
        return count, time.perf_counter() - started
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
