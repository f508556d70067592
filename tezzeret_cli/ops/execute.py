"""Do the jobs of a run that are still to be done, with its journal open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from tezzeret_cli.health.record import HealthRecords
from tezzeret_cli.host.memory import read_memory, threads_each, usable_cores
from tezzeret_cli.keys import NO_COMPILER, with_key
from tezzeret_cli.model.events import JobFinished, Notice, Observer, RunFinished, RunStarted
from tezzeret_cli.model.job import Job
from tezzeret_cli.model.report import JobReport, Report, Status
from tezzeret_cli.model.run import RunPlan
from tezzeret_cli.ops.attempt import Attempt, AttemptOptions
from tezzeret_cli.ops.cached import Cached, look_up
from tezzeret_cli.ops.environment import Environments
from tezzeret_cli.ops.governor import Governor
from tezzeret_cli.ops.job_loop import JobLoop
from tezzeret_cli.runs.claims import Claims
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.runs.ledger import Ledger
from tezzeret_cli.store.catalogue import Catalogue
from tezzeret_cli.store.layout import Store
from tezzeret_cli.store.staging import Staging, sweep
from tezzeret_cli.trust.signer import Signer, Unsigned
from tezzeret_cli.worker.task import Runner, Template

REPORT_SCHEMA = 1
MakeRunner = Callable[[Mapping[str, Template]], Runner]
OnStart = Callable[[JobLoop], None]


class Forge(msgspec.Struct, frozen=True):
    """The concrete parts a run works with. ``on_start`` is handed the loop, whose ``stop`` ends it early;
    ``signer`` signs as the plan asks for."""

    store: Store
    runs: Runs
    environment: Mapping[str, str]
    make_runner: MakeRunner
    observer: Observer
    on_start: OnStart = lambda loop: None
    signer: Signer = Unsigned()


class Ran(msgspec.Struct, frozen=True):
    """What came of a run's pending jobs. ``conservative`` are the reasons there were for that mode."""

    reports: dict[int, JobReport]
    stopped: bool
    conservative: Sequence[str] = ()
    breakers: Mapping[str, str] = {}


def execute(
    forge: Forge,
    ledger: Ledger,
    plan: RunPlan,
    finished: Mapping[int, JobReport],
    *,
    command: str,
    recovered: Sequence[str] = (),
) -> Report:
    """Do every job of ``plan`` that has no report in ``finished``, and report on all of them.

    The run ends on record, unless it was stopped: then it can be resumed, as after any error. ``ledger`` is
    closed either way. Raises ``StoreError`` and ``JournalError``; what was published until then stays.
    """
    pending = [(number, job) for number, job in enumerate(plan.jobs) if number not in finished]
    workers = count_workers(pending, plan.options.workers)
    forge.observer.on_event(RunStarted(command, len(plan.jobs), len(finished), workers))
    for number, job_report in finished.items():
        forge.observer.on_event(JobFinished(number, job_report))
    try:
        ran = _run(forge, ledger, plan, pending, workers)
        reports = {**finished, **ran.reports}
        report = make_report(
            plan, reports, command, stopped=ran.stopped, run=ledger.run_id, recovered=recovered
        )
        report = msgspec.structs.replace(
            report, conservative=tuple(ran.conservative), breakers=dict(ran.breakers)
        )
        if len(reports) == len(plan.jobs):
            ledger.ended(report.counts)
            forge.runs.put_away(ledger)
    finally:
        ledger.close()
    forge.observer.on_event(RunFinished(report))
    return report


def _run(
    forge: Forge, ledger: Ledger, plan: RunPlan, pending: Sequence[tuple[int, Job]], workers: int
) -> Ran:
    for name in sweep(forge.store, keep=forge.runs.all_open(), ended=forge.runs.ended):
        forge.observer.on_event(Notice("debug", f"removed the staging folder of a dead run: {name}"))
    options = plan.options
    staging = Staging(forge.store, ledger.run_id)
    if not pending:
        staging.close()
        return Ran({}, False)
    if plan.facts.compiler == NO_COMPILER:
        lost = "there is no C++ compiler: what would have to be compiled ships as an eager fallback"
        forge.observer.on_event(Notice("warning", lost))
    cache = Path(options.cache)
    environments = Environments(forge.environment, cache, ledger.run_id, plan.facts, threads_each(workers))
    attempt_options = AttemptOptions(
        proof_timeout_s=options.proof_timeout_s,
        eager_timeout_s=options.eager_timeout_s,
        repeat=options.repeat,
        compiler=plan.facts.compiler,
        isa=plan.facts.isa,
        ladder=options.ladder,
        signer=forge.signer,
        directory=plan.directory,
    )
    claims = Claims(forge.runs.claims)
    governor = Governor(HealthRecords(forge.runs.root, options.breakers), options, forge.observer)

    def start(number: int, job: Job) -> Attempt | JobReport | None:
        """The attempt to run, the report when another run has done the job, ``None`` while one does it."""
        job = governor.adjusted(job)
        if job.strategy.name != plan.jobs[number].strategy.name:
            job = with_key(job, plan.facts)
        claim = claims.claim(job.key)
        if claim is None:
            return None
        try:
            catalogue = Catalogue(forge.store.root, {job.blueprint_id})
            found = (
                None if options.force else look_up(catalogue, job, options.signing.how, forge.signer.doubts)
            )
            part = ledger.job(number, job.key)
            if found is None or found.problem is not None:
                return Attempt(
                    number,
                    job,
                    forge.store,
                    staging,
                    environments,
                    msgspec.structs.replace(
                        attempt_options, gpu_share=governor.gpu_share, priority=governor.priority
                    ),
                    ledger.run_id,
                    part,
                    claim,
                )
            report = cached_report(job, found)
            part.ended(report)
        except BaseException:
            claim.release()
            raise
        claim.release()
        return report

    runner = forge.make_runner(environments.templates())
    try:
        loop = JobLoop(runner, start, workers, forge.observer, governor)
        forge.on_start(loop)
        return Ran(loop.run(pending), loop.stopped, governor.seen, governor.breakers)
    finally:
        runner.close()
        staging.close()
        environments.close()


def count_workers(pending: Sequence[tuple[int, Job]], wanted: int) -> int:
    """How many of the jobs to run at once: as asked, else as many as cores and free memory allow."""
    if wanted > 0 or not pending:
        return min(wanted, len(pending))
    budget = max(job.strategy.memory_bytes for _, job in pending)
    return min(len(pending), automatic_workers(usable_cores(), read_memory().available, budget))


def automatic_workers(cores: int, available_bytes: int, budget_bytes: int) -> int:
    """At most one job per core, and no more than fit into memory at once; at least one."""
    return max(1, min(cores, available_bytes // budget_bytes))


def make_report(
    plan: RunPlan,
    reports: Mapping[int, JobReport],
    command: str,
    *,
    stopped: bool = False,
    run: str | None = None,
    recovered: Sequence[str] = (),
) -> Report:
    """The report over all jobs of ``plan``; one without a report of its own was not done."""
    ordered = tuple(
        reports.get(number) or without_bundle(job, "interrupted before it was done", "interrupted")
        for number, job in enumerate(plan.jobs)
    )
    counts = Counter(job.status.value for job in ordered)
    return Report(
        schema=REPORT_SCHEMA,
        command=command,
        jobs=ordered,
        counts={status.value: counts.get(status.value, 0) for status in Status},
        interrupted=stopped,
        run=run,
        recovered=tuple(recovered),
        shard=str(plan.shard) if plan.shard else None,
    )


def cached_report(job: Job, found: Cached) -> JobReport:
    """The report of a job whose bundle is there."""
    item, manifest = found.item, found.manifest
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
        strategy_reason=job.strategy_reason,
    )


def skipped_reports(plan: RunPlan) -> dict[int, JobReport]:
    """The reports of the jobs that are not to be done, by number."""
    return {
        number: without_bundle(plan.jobs[number], reason, "needs_approval")
        for number, reason in plan.skipped.items()
    }


def without_bundle(job: Job, reason: str, kind: str) -> JobReport:
    """The report of a job that was not done."""
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
