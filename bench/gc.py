"""``gc`` over a store of many bundles: the time of a dry run and of a real one, and the peak of memory."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.manifests import DATA, draft
from tezzeret_cli.bundle.canonical import canonical
from tezzeret_cli.store.layout import open_store

BLUEPRINTS = 50
DAY = 86400.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundles", type=int, default=100_000)
    parser.add_argument("--old", type=float, default=0.1, help="share that goes")
    parser.add_argument("--folder", help="where to make the store; by default a temporary folder")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="gc-", dir=options.folder))
    try:
        started = time.perf_counter()
        fill(root / "store", options.bundles, options.old)
        print(f"{options.bundles} bundles made in {time.perf_counter() - started:.1f} s")
        for flags in (["--dry-run"], []):
            command = [
                sys.executable,
                "-m",
                "tezzeret_cli",
                "gc",
                "--store",
                str(root / "store"),
                "--ttl",
                "30d",
            ]
            command += ["--state", str(root / "state"), "--cache", str(root / "cache"), "-q", *flags]
            started = time.perf_counter()
            process = subprocess.Popen(command)
            _, status, usage = os.wait4(process.pid, 0)
            took, peak = time.perf_counter() - started, usage.ru_maxrss / 1024
            assert status == 0
            work = usage.ru_utime + usage.ru_stime
            print(f"gc {' '.join(flags):10} {took:.1f} s, {work:.1f} s CPU, {peak:.0f} MiB")
    finally:
        shutil.rmtree(root)


def fill(root: Path, count: int, old: float) -> None:
    """``count`` bundles of two files each, spread over the blueprints; a share of them is old."""
    store = open_store(root)
    now = time.time()
    for number in range(count):
        name, version = f"BP{number % BLUEPRINTS:03d}", f"1.0.{number // BLUEPRINTS}+cpu-avx2-abc123"
        folder = store.bundle(name, version)
        folder.mkdir(parents=True)
        (folder / "data").write_bytes(DATA)
        manifest = folder / "manifest.json"
        manifest.write_bytes(canonical(draft(blueprint_id=name, version=version, job_key=f"{number:064x}")))
        if number < count * old:
            os.utime(manifest, (now - 40 * DAY, now - 40 * DAY))


if __name__ == "__main__":
    main()
