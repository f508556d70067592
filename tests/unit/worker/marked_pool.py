"""A pool of workers whose processes all carry a mark, to run entries of ``hostile.py`` in.

``python -m tests.unit.worker.marked_pool FOLDER ENTRY`` runs one and prints, as JSON lines, its mark, what is
lacking here, and how it ended: for tests that start it as another user, or with fewer rights.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from pathlib import Path

import msgspec

from tests.support.users import PATHS
from tezzeret_cli.worker.pool import WorkerPool
from tezzeret_cli.worker.task import (
    BUILDER,
    Ending,
    Lacking,
    Limits,
    Priority,
    Returned,
    Task,
    TaskEnded,
    TaskStage,
    Template,
)

ROOT = Path(__file__).resolve().parents[3]
HOSTILE = "tests.unit.worker.hostile"
MARK = "TEZZERET_TEST_MARK"


def marked(mark: str) -> list[int]:
    """Living processes that carry the mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if mark.encode() in environment and state != "Z":
                found.append(int(entry.name))
    return found


def gone(mark: str, but: int = 0) -> bool:
    """Whether no more than ``but`` marked processes are left, a guardian's own exit waited for."""
    deadline = time.monotonic() + 5
    while len(marked(mark)) > but and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(marked(mark)) <= but


class MarkedPool:
    """A pool whose processes all carry a mark."""

    def __init__(self, folder: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.folder = folder
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": PATHS, MARK: self.mark}
        self.pool = WorkerPool({BUILDER: Template((HOSTILE,), environment)})
        self._number = 0

    def __enter__(self) -> MarkedPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.close()

    def task(
        self, entry: str, payload: bytes = b"x", *, fresh: bool = False, priority=Priority.ORDINARY, **limits
    ) -> Task:
        self._number += 1
        wanted = {"timeout_s": 10.0, "memory_bytes": 512 << 20, **limits}
        environment = {"PYTHONPATH": PATHS, MARK: self.mark} if fresh else {"EXTRA": "1"}
        return Task(
            id=self._number,
            entry=f"{HOSTILE}:{entry}",
            payload=payload,
            limits=Limits(**wanted),
            workdir=str(self.folder),
            log=str(self.folder / f"{self._number}.log"),
            priority=priority,
            fresh=fresh,
            env=environment,
        )

    def run(self, entry: str, payload: bytes = b"x", **options):
        task = self.task(entry, payload, **options)
        self.pool.start(task)
        events = []
        while not any(isinstance(event, TaskEnded) for event in events):
            events += self.pool.wait(1)
        stages = [event.stage for event in events if isinstance(event, TaskStage)]
        (end,) = [event for event in events if isinstance(event, TaskEnded)]
        return end, stages


def _plain(ending: Ending) -> dict:
    """As JSON has it, with a result as text."""
    return msgspec.to_builtins(ending, builtin_types=(bytes,)) | (
        {"result": ending.result.decode()} if isinstance(ending, Returned) else {}
    )


def main(folder: str, entry: str) -> None:
    bench = MarkedPool(Path(folder))
    with bench.pool:
        bench.pool.start(bench.task(entry, timeout_s=60.0, memory_bytes=128 << 20))
        print(json.dumps({"mark": bench.mark}), flush=True)
        while True:
            for event in bench.pool.wait(1):
                if isinstance(event, Lacking):
                    print(json.dumps({"lacking": event.parts}), flush=True)
                if isinstance(event, TaskEnded):
                    print(json.dumps({"ending": _plain(event.ending)}), flush=True)
                    return


if __name__ == "__main__":
    main(*sys.argv[1:])
