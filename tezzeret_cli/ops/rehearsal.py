"""Load verified bundles as a consumer would, each in a fresh process, and compare them with eager."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from tezzeret_cli.model.build import ProofResult, RehearsalRequest
from tezzeret_cli.model.verification import BundleCheck
from tezzeret_cli.ops.environment import consumer_environment
from tezzeret_cli.worker.task import (
    BUILDER,
    Crashed,
    Ending,
    Limits,
    Raised,
    Returned,
    Runner,
    Task,
    TaskEnded,
    Template,
    TimedOut,
)

ENTRY = "tezzeret_cli.worker.rehearse:rehearse"
MEMORY_BYTES = 8 << 30
_WAIT_S = 0.25


def rehearse_all(
    checks: Sequence[BundleCheck],
    make_runner: Callable[[Mapping[str, Template]], Runner],
    environment: Mapping[str, str],
    *,
    timeout_s: float,
    workers: int,
) -> list[BundleCheck]:
    """The checks with what loading found; one that failed before, or cannot run here, is left as it is.

    Raises ``WorkerError`` when no process can be had.
    """
    done = list(checks)
    waiting = [number for number, check in enumerate(checks) if check.ok and check.runs_here is None]
    running = 0
    with tempfile.TemporaryDirectory(prefix="tezzeret-verify-") as folder:
        runner = make_runner({BUILDER: Template((), dict(environment))})
        try:
            while waiting or running:
                while waiting and running < workers:
                    number = waiting.pop(0)
                    runner.start(_task(number, checks[number], Path(folder), environment, timeout_s))
                    running += 1
                for event in runner.wait(_WAIT_S):
                    if isinstance(event, TaskEnded):
                        running -= 1
                        done[event.task] = _judged(checks[event.task], event.ending)
        finally:
            runner.close()
    return done


def _task(
    number: int, check: BundleCheck, folder: Path, environment: Mapping[str, str], timeout_s: float
) -> Task:
    scratch = folder / str(number)
    scratch.mkdir()
    assert check.manifest_sha256 is not None
    request = RehearsalRequest(str(Path(check.bundle).absolute()), check.manifest_sha256)
    return Task(
        id=number,
        entry=ENTRY,
        payload=msgspec.msgpack.encode(request),
        limits=Limits(timeout_s, MEMORY_BYTES),
        workdir=str(scratch),
        log=str(scratch / "log"),
        fresh=True,
        env=consumer_environment(environment, scratch, 1),
    )


def _judged(check: BundleCheck, ending: Ending) -> BundleCheck:
    if isinstance(ending, Returned):
        result = msgspec.msgpack.decode(ending.result, type=ProofResult)
        if result.reason is None:
            how = "loads and equals eager" if result.timing else "loads; it runs eager"
            return msgspec.structs.replace(check, proof=how)
        if result.reason.kind == "no_reference":
            return msgspec.structs.replace(check, proof=f"loads; not compared: {result.reason.message}")
        return _failed(check, result.reason.message)
    match ending:
        case Raised(kind, message, _):
            return _failed(check, f"{kind}: {message}")
        case Crashed():
            return _failed(check, "its process crashed")
        case TimedOut(after_s):
            return _failed(check, f"not done after {after_s:g} s")
        case _:
            return _failed(check, "its process was stopped")


def _failed(check: BundleCheck, message: str) -> BundleCheck:
    problem = f"the proof failed: {message}"
    return msgspec.structs.replace(check, ok=False, problem=problem, problem_kind="proof")
