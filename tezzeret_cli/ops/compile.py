"""The compile operation: jobs in, bundles and a report out. No Typer, no rich, no torch."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from tezzeret_cli.bundle.scan import Published
from tezzeret_cli.keys import HostFacts, explain
from tezzeret_cli.model.events import JobFinished, Notice, Observer, RunFinished, RunStarted
from tezzeret_cli.model.job import Job
from tezzeret_cli.model.manifest import Manifest
from tezzeret_cli.model.report import JobReport, Report, Status
from tezzeret_cli.ops.attempt import Attempt, AttemptOptions
from tezzeret_cli.ops.environment import Environments
from tezzeret_cli.ops.job_loop import JobLoop
from tezzeret_cli.store.catalogue import Catalogue
from tezzeret_cli.store.layout import Store
from tezzeret_cli.store.staging import Staging, sweep
from tezzeret_cli.worker.task import Runner

REPORT_SCHEMA = 1
PRELOAD = ("tezzeret_cli.worker.build",)

MakeRunner = Callable[[Sequence[str], Mapping[str, str]], Runner]
OnStart = Callable[[JobLoop], None]


class CompileOptions(msgspec.Struct, frozen=True):
    """``workers`` 0 lets cores and memory decide. ``force`` compiles what is already done."""

    workers: int = 0
    force: bool = False
    explain: bool = False
    dry_run: bool = False
    proof_timeout_s: float = 120.0
    eager_timeout_s: float = 30.0
    repeat: int = 20
    cache: str = ""


def compile_blueprints(
    jobs: Sequence[Job],
    store: Store | Path,
    facts: HostFacts,
    options: CompileOptions,
    *,
    environment: Mapping[str, str],
    make_runner: MakeRunner,
    observer: Observer,
    on_start: OnStart = lambda loop: None,
) -> Report:
    """Make every bundle that is not there yet and report on all jobs, in their order.

    A dry run takes the path of a store that need not exist, and writes nothing. ``on_start`` is handed
    the loop, whose ``stop`` ends the run early. Raises ``StoreError`` when the store fails; what was
    published until then stays.
    """
    root = store.root if isinstance(store, Store) else store
    catalogue = Catalogue(root, {job.blueprint_id for job in jobs})
    for text in catalogue.damaged:
        observer.on_event(Notice("warning", f"passed over a damaged bundle: {text}"))
    done = {} if options.force else _done(jobs, catalogue)
    pending = [(number, job) for number, job in enumerate(jobs) if number not in done]
    workers = _workers(pending, options.workers)
    observer.on_event(RunStarted("compile", len(jobs), len(done), workers))
    if options.explain:
        for number, job in enumerate(jobs):
            observer.on_event(Notice("info", _explain(job, catalogue, number in done, options.force)))
    reports = {number: _cached(jobs[number], *found) for number, found in done.items()}
    for number, cached in reports.items():
        observer.on_event(JobFinished(number, cached))
    stopped = False
    if options.dry_run:
        reports |= {number: _planned(job) for number, job in pending}
    elif pending:
        assert isinstance(store, Store)
        made, stopped = _run(
            pending, store, facts, options, workers, environment, make_runner, observer, on_start
        )
        reports |= made
    ordered = tuple(reports.get(number) or _not_started(job) for number, job in enumerate(jobs))
    counts = Counter(job.status.value for job in ordered)
    report = Report(
        schema=REPORT_SCHEMA,
        command="compile",
        jobs=ordered,
        counts={status.value: counts.get(status.value, 0) for status in Status},
        interrupted=stopped,
    )
    observer.on_event(RunFinished(report))
    return report


def _run(
    pending: Sequence[tuple[int, Job]],
    store: Store,
    facts: HostFacts,
    options: CompileOptions,
    workers: int,
    environment: Mapping[str, str],
    make_runner: MakeRunner,
    observer: Observer,
    on_start: OnStart,
) -> tuple[dict[int, JobReport], bool]:
    for name in sweep(store):
        observer.on_event(Notice("debug", f"removed the staging folder of a dead run: {name}"))
    staging = Staging(store)
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    environments = Environments(environment, Path(options.cache), secrets.token_hex(8), facts, threads)
    attempt_options = AttemptOptions(
        proof_timeout_s=options.proof_timeout_s,
        eager_timeout_s=options.eager_timeout_s,
        repeat=options.repeat,
        compiler=facts.compiler,
        isa=facts.isa,
    )

    def make_attempt(number: int, job: Job) -> Attempt:
        return Attempt(number, job, store, staging, environments, attempt_options)

    runner = make_runner(PRELOAD, environments.zygote())
    try:
        loop = JobLoop(runner, make_attempt, workers, observer)
        on_start(loop)
        return loop.run(pending), loop.stopped
    finally:
        runner.close()
        staging.close()
        environments.close()


def _done(jobs: Sequence[Job], catalogue: Catalogue) -> dict[int, tuple[Published, Manifest]]:
    found = {number: catalogue.done(job.blueprint_id, job.key) for number, job in enumerate(jobs)}
    return {number: pair for number, pair in found.items() if pair is not None}


def _workers(pending: Sequence[tuple[int, Job]], wanted: int) -> int:
    """How many of the jobs to run at once: as asked, else as many as cores and free memory allow."""
    if wanted > 0 or not pending:
        return min(wanted, len(pending))
    import psutil

    budget = max(job.strategy.memory_bytes for _, job in pending)
    free = psutil.virtual_memory().available
    return min(len(pending), automatic_workers(len(os.sched_getaffinity(0)), free, budget))


def automatic_workers(cores: int, available_bytes: int, budget_bytes: int) -> int:
    """At most one job per core, and no more than fit into memory at once; at least one."""
    return max(1, min(cores, available_bytes // budget_bytes))


def _cached(job: Job, item: Published, manifest: Manifest) -> JobReport:
    timing = manifest.timing
    return JobReport(
        blueprint_id=job.blueprint_id,
        name=job.descriptor.name,
        version=manifest.version,
        status=Status.CACHED,
        strategy=manifest.compile_strategy,
        duration_ms=0.0,
        eager_fallback=manifest.eager_fallback,
        reason=manifest.reason.message if manifest.reason else None,
        reason_kind=manifest.reason.kind if manifest.reason else None,
        bundle=f"bundles/{item.blueprint_id}/{item.version}",
        quarantine_only=job.descriptor.quarantine_only,
        prewarm_p50_ms=timing.p50_ms if timing else None,
        prewarm_p95_ms=timing.p95_ms if timing else None,
        notes=manifest.notes,
    )


def _planned(job: Job) -> JobReport:
    return _without_bundle(job, "would be compiled", "dry_run")


def _not_started(job: Job) -> JobReport:
    return _without_bundle(job, "interrupted before it was done", "interrupted")


def _without_bundle(job: Job, reason: str, kind: str) -> JobReport:
    return JobReport(
        blueprint_id=job.blueprint_id,
        name=job.descriptor.name,
        version=None,
        status=Status.SKIPPED,
        strategy=job.strategy.name,
        duration_ms=0.0,
        eager_fallback=False,
        reason=reason,
        reason_kind=kind,
        bundle=None,
        quarantine_only=job.descriptor.quarantine_only,
    )


def _explain(job: Job, catalogue: Catalogue, done: bool, force: bool) -> str:
    """Why a job is or is not to be done, in one line."""
    newest = catalogue.newest(job.blueprint_id)
    if done:
        return f"{job.blueprint_id}: unchanged"
    if newest is None:
        return f"{job.blueprint_id}: no bundle yet"
    changed = explain(newest.key_factors, job.key_factors)
    if changed:
        return f"{job.blueprint_id}: {'; '.join(changed)}"
    if force:
        return f"{job.blueprint_id}: unchanged, compiled again by --force"
    if newest.eager_fallback and newest.reason:
        return f"{job.blueprint_id}: unchanged, but it fell back ({newest.reason.kind}) and is tried again"
    return f"{job.blueprint_id}: unchanged, but its bundle {newest.version} is damaged"
