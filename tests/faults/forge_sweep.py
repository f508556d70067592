"""A forge that dies, or whose disk fails, at the N-th operation; then one that resumes.

``python -m tests.faults.forge_sweep FOLDER FAULT FIRST STEP [SECOND [PLANTED]]`` runs, in a child each, the
same three jobs (one compiles, one falls back, one fails), with the fault at operation FIRST, FIRST + STEP and
so on until a run gets through without meeting it. SECOND is the operation of the resume at which that dies
too; PLANTED is a bug of ``BUGS`` that the sweep should find. After each it resumes until nothing is left, and
checks the store. It prints one JSON line per point.

Workers are simulated; store, journal, publication and resume are the real ones.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from tests.support.forging import FACTS, Simulator, built, forge, job, plan, proved
from tezzeret_cli.bundle.read import read_files, read_manifest
from tezzeret_cli.bundle.scan import published
from tezzeret_cli.errors import TezzeretError
from tezzeret_cli.model.build import BuildRefused
from tezzeret_cli.model.manifest import Reason
from tezzeret_cli.model.report import Report
from tezzeret_cli.ops import attempt as attempts
from tezzeret_cli.ops import execute as executing
from tezzeret_cli.ops import resume as resuming
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.ops.resume import resume_run
from tezzeret_cli.runs.ledger import Ledger
from tezzeret_cli.store import publish as publishing
from tezzeret_cli.store import quarantine as quarantining
from tezzeret_cli.worker.task import Returned

NAMES = ("BP001", "BP002", "BP003")
EXPECTED = {"BP001": "compiled", "BP002": "fallback", "BP003": "failed"}
MKDIR_AGAIN = "mkdir of a folder that is there"
REACHED, RAISED, UNCLEAR = 0, 40, 41


def script(step: str, request: Any) -> tuple[Any, str]:
    if step == "prove":
        return proved(), "prove"
    name = request.job.blueprint_id
    if name == "BP003":
        return Returned(msgspec.msgpack.encode(BuildRefused(Reason("refused", "no", True)))), "construct"
    reason = Reason("unsupported", "it cannot", True) if name == "BP002" else None
    with Faulty.elsewhere():
        return built(request, reason), "compile"


def compile_all(store: Path) -> Report:
    jobs = [job(name) for name in NAMES]
    return compile_blueprints(plan(store, jobs, workers=2), forge(store, Simulator(script)))


def resume_all(store: Path) -> Report | None:
    parts = forge(store, Simulator(script))
    report = None
    for run in parts.runs.unfinished():
        ledger = parts.runs.reopen(run)
        if ledger is not None:
            report = resume_run(parts, ledger, lambda plan: FACTS)
    return report


class Faulty:
    """Wraps every operation that changes the disk; at the N-th something happens."""

    in_forge = True

    def __init__(self, fault: str, at: int) -> None:
        self.fault = fault
        self.at = at
        self.count = 0
        self.operation = ""

    @classmethod
    @contextlib.contextmanager
    def elsewhere(cls) -> Iterator[None]:
        """What is done in the block would be done by another process."""
        cls.in_forge = False
        try:
            yield
        finally:
            cls.in_forge = True

    def install(self) -> None:
        for name in ("write", "fsync", "rename", "replace", "link", "unlink", "rmdir", "mkdir"):
            setattr(os, name, self._wrapped(getattr(os, name), short=name == "write"))
        os.open = self._wrapped_open(os.open)
        Path.write_bytes = self._wrapped(Path.write_bytes)  # type: ignore[method-assign]
        shutil.copyfile = self._wrapped(shutil.copyfile)
        renamed = self._wrapped(publishing.rename_no_replace)
        publishing.rename_no_replace = quarantining.rename_no_replace = renamed

    def _wrapped_open(self, function: Callable[..., int]) -> Callable[..., int]:
        faulty = self._wrapped(function)

        @functools.wraps(function)
        def opened(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            return (faulty if flags & os.O_CREAT else function)(path, flags, *args, **kwargs)

        return opened

    def _wrapped(self, function: Callable[..., Any], *, short: bool = False) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self.in_forge:
                return function(*args, **kwargs)
            self.count += 1
            if self.count == self.at or (self.count > self.at and self.fault.endswith("+")):
                self.operation = self.operation or function.__name__
                if self.operation == "mkdir" and os.path.isdir(args[0]):
                    self.operation = MKDIR_AGAIN
                kind = self.fault.rstrip("+")
                if kind == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if kind == "after":
                    function(*args, **kwargs)
                    os.kill(os.getpid(), signal.SIGKILL)
                if kind != "short":
                    number = getattr(errno, kind)
                    raise OSError(number, os.strerror(number))
                if short:
                    return function(args[0], args[1][: max(1, len(args[1]) // 2)])
            return function(*args, **kwargs)

        return call


def child(work: Callable[[], object], fault: str | None = None, at: int = 0) -> tuple[str, str, str]:
    """Do ``work`` in a forked child: how it ended (``done``, ``clear``, ``unclear``, ``killed``, or
    ``through`` where it did not meet the fault), what it said, and the operation that failed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        faulty = Faulty(fault, at) if fault else None
        said, code = "", REACHED
        write, leave = os.write, os._exit
        try:
            if faulty:
                faulty.install()
            result = work()
            said = msgspec.json.encode(result).decode() if result is not None else ""
        except TezzeretError as error:
            said, code = str(error), RAISED
        except BaseException:
            said, code = traceback.format_exc(), UNCLEAR
        met = faulty.operation if faulty else "met"
        write(writing, json.dumps([said, met]).encode())
        leave(code)
    os.close(writing)
    with open(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return "killed", "", ""
    said, met = json.loads(data)
    ending = {REACHED: "done", RAISED: "clear", UNCLEAR: "unclear"}[os.WEXITSTATUS(status)]
    return (ending if met else "through"), said, met


def check(store: Path, report: dict[str, Any]) -> None:
    """Everything as if nothing had happened: the report, one whole bundle per job, and nothing left over."""
    for item in report["jobs"]:
        wanted = EXPECTED[item["blueprint_id"]]
        got = item["status"]
        assert got == wanted or (got == "cached" and wanted != "failed"), report
    found = list(published(store))
    assert sorted(item.blueprint_id for item in found) == ["BP001", "BP002"], found
    for item in found:
        manifest, _ = read_manifest(item.path)
        read_files(item.path, manifest)
        assert manifest.eager_fallback == (item.blueprint_id == "BP002")
    assert list((store / "tmp").iterdir()) == [], list((store / "tmp").iterdir())
    assert not (store / "quarantine").exists()
    assert forge(store, Simulator(script)).runs.all_open() == frozenset()


def finish(store: Path) -> dict[str, Any]:
    """Resume until nothing is left, compile again where the run never began, and give the report."""
    ending, said, _ = child(lambda: resume_all(store))
    assert ending == "done", (ending, said)
    if not said:
        ending, said, _ = child(lambda: compile_all(store))
        assert ending == "done", (ending, said)
    report: dict[str, Any] = json.loads(said)
    return report


def point(folder: Path, fault: str, at: int, second: int) -> tuple[str, bool, str]:
    """One point of the sweep in an empty folder: how the faulty run ended, whether the resume met its own
    fault, and the operation that failed."""
    store = folder / "store"
    ending, said, operation = child(lambda: compile_all(store), fault, at)
    assert ending != "unclear", said
    again = ""
    if second and ending != "through":
        again, said, _ = child(lambda: resume_all(store), "kill", second)
        assert again != "unclear", said
    check(store, finish(store))
    return ending, again == "killed", operation


def record_after_the_rename() -> None:
    """The record of a bundle is made when it can be seen already."""
    real = attempts.publish

    def publish(store: Any, staged: Any, draft: Any, about_to: Callable[..., None], signer: Any) -> Any:
        seen: list[Any] = []
        manifest = real(store, staged, draft, lambda *args: seen.append(args), signer)
        about_to(*seen[-1])
        return manifest

    attempts.publish = publish


def end_before_the_rename() -> None:
    """A job is said to have ended when its bundle cannot be seen yet."""
    real = attempts.Attempt._about_to_publish

    def about_to(self: Any, manifest: Any, sha256: str) -> None:
        real(self, manifest, sha256)
        self._ledger.ended(self._staged_report)

    def end(self: Any, report: Any) -> None:
        if report.bundle is None:
            self._ledger.ended(report)
        self.report = report

    attempts.Attempt._about_to_publish = about_to  # type: ignore[method-assign]
    attempts.Attempt._end = end  # type: ignore[method-assign]


def believe_the_journal() -> None:
    """A resume does not look after the bundles that the journal names, and jobs end too early."""
    end_before_the_rename()
    resuming._holds = lambda bundle, sha256: True


def forget_what_was_staged() -> None:
    """A resume does every job again that was under way, without looking for its bundle."""

    def settle(part: Any, staged: Any, store: Any, signer: Any) -> str:
        part.lost("forgotten")
        return "is done again"

    resuming._settle = settle
    executing.look_up = lambda *args: None


def swallow_errors() -> None:
    """A record that could not be written is taken for written."""
    real = Ledger.write

    def write(self: Any, txn: bytes, record: Any) -> None:
        with contextlib.suppress(TezzeretError):
            real(self, txn, record)

    Ledger.write = write  # type: ignore[method-assign]


BUGS = {
    bug.__name__: bug
    for bug in (
        record_after_the_rename,
        end_before_the_rename,
        believe_the_journal,
        forget_what_was_staged,
        swallow_errors,
    )
}


def main(root: str, fault: str, first: str, step: str, second: str = "0", planted: str = "") -> None:
    if planted:
        BUGS[planted]()
    at = int(first)
    while True:
        folder = Path(root) / f"{fault}-{at}-{second}"
        folder.mkdir(parents=True)
        try:
            ending, again, operation = point(folder, fault, at, int(second))
        except Exception:
            print(json.dumps({"at": at, "bad": traceback.format_exc()}), flush=True)
            raise SystemExit(1) from None
        shutil.rmtree(folder)
        print(json.dumps({"at": at, "ending": ending, "again": again, "operation": operation}), flush=True)
        if ending == "through":
            return
        at += int(step)


if __name__ == "__main__":
    main(*sys.argv[1:])
