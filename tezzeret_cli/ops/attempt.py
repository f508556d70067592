"""One job's way from request to published bundle, as a small state machine over worker endings.

It decides; ``job_loop`` starts the tasks it asks for. The order is: build, prove, publish. Whatever
goes wrong with the compiled bundle leads to the next strategy of the ladder, where one can help, and
in the end to a fallback bundle, if eager itself runs.
"""

from __future__ import annotations

import datetime
import errno
import os
import platform
import shutil
import time

import msgspec

import tezzeret_cli
from tezzeret_cli.bundle.canonical import guard_digest
from tezzeret_cli.bundle.version import lineage
from tezzeret_cli.errors import WorkerError
from tezzeret_cli.model.build import (
    NO_ROOM,
    BuildRefused,
    BuildRequest,
    BuildResult,
    ProofRequest,
    ProofResult,
    WorkerReply,
)
from tezzeret_cli.model.job import Job, Strategy
from tezzeret_cli.model.manifest import FORMAT, Manifest, Reason, Toolchain
from tezzeret_cli.model.records import JobStaged
from tezzeret_cli.model.report import JobReport, Status
from tezzeret_cli.ops.endings import answer, last_words
from tezzeret_cli.ops.environment import Environments
from tezzeret_cli.runs.claims import Claim
from tezzeret_cli.runs.ledger import JobLedger
from tezzeret_cli.store.layout import Store, explained, probe
from tezzeret_cli.store.publish import publish, write_manifest
from tezzeret_cli.store.seal import seal_files
from tezzeret_cli.store.staging import Staging
from tezzeret_cli.strategies.ladder import next_rung, step_note
from tezzeret_cli.trust.signer import Signer
from tezzeret_cli.worker.task import CONSUMER, Cancelled, Crashed, Ending, Limits, Priority, Task

BUILD = "tezzeret_cli.worker.build:build"
PROVE = "tezzeret_cli.worker.prove:prove"
LOG = "compile.log"
TENSORS = "tensors.safetensors"
_NO_LINEAGE = "0.0.0+unpublished"

EAGER_STAGES = ("construct", "eager")
"""Stages of a build in which only the module's own code runs: what ends here ends in eager too."""


class AttemptOptions(msgspec.Struct, frozen=True):
    """What holds for every attempt of a run. Times in seconds; ``compiler`` is the key's text for it,
    ``isa`` the level that libraries are built for, ``signer`` signs what is published, ``ladder`` are the
    strategies, dearest first, ``gpu_share`` the part of a GPU's memory that a build may have,
    ``priority`` what its processes have, ``directory`` where the run was started."""

    proof_timeout_s: float
    eager_timeout_s: float
    repeat: int
    compiler: str
    isa: str
    signer: Signer
    ladder: tuple[Strategy, ...] = ()
    gpu_share: float = 1.0
    priority: Priority = Priority.ORDINARY
    directory: str | None = None


class Failure(msgspec.Struct, frozen=True):
    """What went wrong with one strategy, for the breakers. ``device`` is where it was to run."""

    kind: str
    message: str
    device: str


class Attempt:
    """``task`` is what to run next, until ``report`` says how the job ended or ``was_lost`` that it did not.
    ``failures`` are what its strategies came to, oldest first.

    Methods raise ``JournalError`` when what happened cannot be put on record, and ``StoreError``.
    """

    def __init__(
        self,
        number: int,
        job: Job,
        store: Store,
        staging: Staging,
        environments: Environments,
        options: AttemptOptions,
        run: str,
        ledger: JobLedger,
        claim: Claim,
    ) -> None:
        self.number = number
        self.job = job
        self.report: JobReport | None = None
        self.was_lost = False
        self.stage = ""
        self.failures: list[Failure] = []
        self._strategy = job.strategy
        self._notes: list[str] = []
        self._store = store
        self._environments = environments
        self._options = options
        self._run = run
        self._ledger = ledger
        self._claim = claim
        self._started = time.monotonic()
        self._staged = staging.folder(f"{number}-{job.blueprint_id}")
        self._scratch = environments.scratch(number)
        self._log = self._scratch / LOG
        self._reason: Reason | None = None
        self._result: BuildResult | None = None
        self._draft: Manifest | None = None
        self._staged_report: JobReport | None = None
        self._compile_ms = 0.0
        self._peak_bytes = 0
        self.task = self._build_task(compile=True)

    def ended(self, ending: Ending, peak_bytes: int) -> None:
        """Take the ending of ``task``: afterwards there is a new ``task`` or a ``report``. ``peak_bytes`` is
        the memory of its process tree at its highest."""
        self._peak_bytes = max(self._peak_bytes, peak_bytes)
        if isinstance(ending, Cancelled):
            self.lost("interrupted")
        elif self.task.entry == BUILD:
            self._built(ending)
        else:
            self._proved(ending)

    def lost(self, reason: str) -> None:
        """Give up: the job is still to be done."""
        self._ledger.lost(reason)
        self.was_lost = True

    def close(self) -> None:
        """Remove what the attempt left in staging and scratch, and let others have the job."""
        shutil.rmtree(self._staged, ignore_errors=True)
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._claim.release()

    def _build_task(self, *, compile: bool) -> Task:
        strategy = self._strategy
        request = BuildRequest(
            job=msgspec.structs.replace(
                self.job, strategy=strategy, device="cpu" if strategy.cpu_only else self.job.device
            ),
            staging=str(self._staged),
            scratch=str(self._scratch),
            shared=str(self._environments.shared),
            isa=self._options.isa,
            compile=compile,
            gpu_share=self._options.gpu_share,
        )
        return Task(
            id=self.number,
            entry=BUILD,
            payload=msgspec.msgpack.encode(request),
            limits=Limits(
                strategy.timeout_s,
                strategy.memory_bytes,
                stages=dict.fromkeys(EAGER_STAGES, self._options.eager_timeout_s),
            ),
            workdir=str(self._scratch),
            log=str(self._log),
            priority=self._options.priority,
            env=self._environments.build(self._scratch),
        )

    def _proof_task(self) -> Task:
        options = self._options
        request = ProofRequest(
            bundle=str(self._staged),
            reference=str(self._scratch),
            shared=str(self._environments.shared),
            repeat=options.repeat,
            directory=options.directory,
        )
        return Task(
            id=self.number,
            entry=PROVE,
            payload=msgspec.msgpack.encode(request),
            limits=Limits(self._options.proof_timeout_s, self._strategy.memory_bytes),
            workdir=str(self._scratch),
            log=str(self._log),
            priority=self._options.priority,
            template=CONSUMER,
            env=self._environments.proof(self._scratch),
        )

    def _built(self, ending: Ending) -> None:
        reply = self._reply(ending)
        self._compile_ms = (time.monotonic() - self._started) * 1e3
        if isinstance(reply, BuildRefused):
            self._finish(Status.FAILED, reply.reason.kind, self._both(reply.reason.message))
        elif isinstance(reply, BuildResult):
            self._result = reply
            if self._reason is None and reply.reason is not None and self._next_rung(reply.reason):
                return
            self._stage(reply, self._reason)
        else:
            reason = reply if isinstance(reply, Reason) else Reason("internal", "an unexpected answer", False)
            self._blame_the_disk(reason)
            if self.stage in EAGER_STAGES:
                self._finish(Status.FAILED, reason.kind, self._both(f"eager itself: {reason.message}"))
            elif self._reason is not None:
                self._finish(Status.FAILED, reason.kind, self._both(reason.message))
            elif not self._next_rung(reason):
                self._clear_staged()
                self.task = self._build_task(compile=False)

    def _reply(self, ending: Ending) -> WorkerReply | Reason:
        """The worker's answer, or why there is none; a crash with the last thing it said."""
        reply = answer(ending)
        if isinstance(ending, Crashed) and isinstance(reply, Reason) and (said := last_words(self._log)):
            return Reason(reply.kind, f"{reply.message}: {said}", reply.deterministic)
        return reply

    def _both(self, message: str) -> str:
        return f"{self._reason.message}; {message}" if self._reason else message

    def _next_rung(self, reason: Reason) -> bool:
        """Go on with the next strategy that may get past ``reason``; where there is none, the bundle will
        be a fallback for that reason."""
        self._blame_the_disk(reason)
        failed = self._strategy
        device = "cpu" if failed.cpu_only else self.job.device
        self.failures.append(Failure(reason.kind, reason.message, device))
        rung = next_rung(failed, reason, self.job.device, self._options.ladder)
        self._ledger.retried(reason, rung.name if rung else None)
        if rung is None:
            self._reason = reason
            return False
        self._notes.append(step_note(failed, reason, rung))
        self._strategy = rung
        self._result = self._draft = None
        self._clear_staged()
        self.task = self._build_task(compile=True)
        return True

    def _blame_the_disk(self, reason: Reason) -> None:
        """Raise ``StoreError`` when the failure may be the disk's: the job would end otherwise elsewhere."""
        if reason.deterministic:
            return
        for folder, root, what in (
            (self._staged, self._store.root, "store"),
            (self._scratch, self._environments.cache, "cache"),
        ):
            with explained(root, what):
                probe(folder)
        if reason.kind == NO_ROOM:  # what took the room is gone again: a header that did not fit
            with explained(self._environments.cache, "cache"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _clear_staged(self) -> None:
        with explained(self._store.root):
            shutil.rmtree(self._staged, ignore_errors=True)
            self._staged.mkdir()

    def _stage(self, result: BuildResult, reason: Reason | None) -> None:
        """Seal the payload and write a manifest without version, for the proof to load."""
        with explained(self._store.root):
            self._seal(result, reason)

    def _seal(self, result: BuildResult, reason: Reason | None) -> None:
        payload = [TENSORS] if reason else list(result.payload)
        if self._log.exists():
            shutil.copyfile(self._log, self._staged / LOG)
            payload.append(LOG)
        try:
            files = seal_files(self._staged, payload)
        except WorkerError as error:
            self._finish(Status.FAILED, "internal", error.message)
            return
        variants = () if reason else result.variants
        guards = () if reason else result.guard_spec
        assert result.target is not None
        self._draft = Manifest(
            format=FORMAT,
            blueprint_id=self.job.blueprint_id,
            version=_NO_LINEAGE,
            lineage=lineage(self.job.parameters, result.target),
            descriptor=self.job.descriptor,
            parameters=self.job.parameters,
            factory=self.job.factory,
            job_key=self.job.key,
            key_factors=self.job.key_factors,
            toolchain=Toolchain(
                tool=tezzeret_cli.__version__,
                torch=result.torch,
                compiler=self._options.compiler,
                python=platform.python_version(),
            ),
            target=result.target,
            compile_strategy=self._strategy.name,
            eager_fallback=reason is not None,
            reason=reason,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            slots=result.slots,
            modules=result.modules,
            variants=variants,
            guard_spec=guards,
            guard_spec_summary=() if reason else result.guard_spec_summary,
            guard_digest=guard_digest(guards),
            files=files,
            compile_ms=round(self._compile_ms, 3),
            tags=self.job.tags,
            notes=(*self._notes, *result.notes),
            run=self._run,
            quarantine=result.quarantine,
            compiler_ms=round(result.compiler_ms, 3),
        )
        write_manifest(self._staged, self._draft)
        self.task = self._proof_task()

    def _proved(self, ending: Ending) -> None:
        assert self._result is not None
        assert self._draft is not None
        reply = self._reply(ending)
        failure = reply.reason if isinstance(reply, ProofResult) else reply
        if isinstance(reply, ProofResult) and reply.timing is None and not self._draft.eager_fallback:
            failure = failure or Reason("internal", "the proof measured nothing", False)
        if isinstance(failure, Reason):
            if self._draft.eager_fallback:
                self._finish(Status.FAILED, failure.kind, self._both(f"its bundle: {failure.message}"))
            else:
                kind = f"proof_{failure.kind}" if not isinstance(reply, ProofResult) else failure.kind
                result = self._result
                message = f"the proof failed: {failure.message}"
                if not self._next_rung(Reason(kind, message, failure.deterministic)):
                    self._stage(result, self._reason)
            return
        assert isinstance(reply, ProofResult)
        timing = None if self._draft.eager_fallback else reply.timing
        draft = msgspec.structs.replace(
            self._draft,
            timing=timing,
            prewarm_ms=timing.load_ms + timing.first_forward_ms + timing.first_backward_ms if timing else 0.0,
            prewarm_samples=reply.samples if timing else (),
            serving=reply.serving,
            notes=(*self._draft.notes, *reply.notes),
        )
        publish(self._store, self._staged, draft, self._about_to_publish, self._options.signer)
        assert self._staged_report is not None
        self._end(self._staged_report)

    def _about_to_publish(self, manifest: Manifest, sha256: str) -> None:
        status = Status.FALLBACK if manifest.eager_fallback else Status.COMPILED
        kind, message = (self._reason.kind, self._reason.message) if self._reason else (None, None)
        report = self._make_report(status, kind, message, manifest)
        assert report.bundle is not None
        folder = self._staged.relative_to(self._store.root).as_posix()
        self._ledger.staged(JobStaged(folder, report.bundle, sha256, report))
        self._staged_report = report

    def _finish(self, status: Status, kind: str, message: str) -> None:
        self._end(self._make_report(status, kind, message))

    def _end(self, report: JobReport) -> None:
        self._ledger.ended(report)
        self.report = report

    def _make_report(
        self, status: Status, kind: str | None, message: str | None, manifest: Manifest | None = None
    ) -> JobReport:
        job = self.job
        timing = manifest.timing if manifest else None
        bundle = self._store.bundle(job.blueprint_id, manifest.version) if manifest else None
        return JobReport(
            blueprint_id=job.blueprint_id,
            name=job.descriptor.name,
            version=manifest.version if manifest else None,
            status=status,
            strategy=self._strategy.name,
            duration_ms=round((time.monotonic() - self._started) * 1e3, 3),
            eager_fallback=manifest.eager_fallback if manifest else False,
            reason=message,
            reason_kind=kind,
            bundle=bundle.relative_to(self._store.root).as_posix() if bundle else None,
            quarantine_only=job.descriptor.quarantine_only,
            prewarm_p50_ms=timing.p50_ms if timing else None,
            prewarm_p95_ms=timing.p95_ms if timing else None,
            notes=manifest.notes if manifest else tuple(self._notes),
            strategy_reason=job.strategy_reason,
            peak_memory_bytes=self._peak_bytes,
        )
