"""The compile operation: jobs in, bundles and a report out. No Typer, no rich, no torch."""

from __future__ import annotations

from pathlib import Path

from tezzeret_cli.bundle.use import touch
from tezzeret_cli.keys import explain
from tezzeret_cli.model.events import JobFinished, Notice, Observer, RunFinished, RunStarted
from tezzeret_cli.model.job import Job
from tezzeret_cli.model.report import Report
from tezzeret_cli.model.run import CompileOptions, RunPlan
from tezzeret_cli.ops.cached import Cached, look_up
from tezzeret_cli.ops.execute import (
    Forge,
    cached_report,
    execute,
    make_report,
    skipped_reports,
    without_bundle,
)
from tezzeret_cli.ops.unfinished import refuse_unfinished
from tezzeret_cli.store.catalogue import Catalogue
from tezzeret_cli.trust.signer import Doubts


def compile_blueprints(plan: RunPlan, forge: Forge, *, explained: bool = False) -> Report:
    """Make every bundle of ``plan`` that is not there yet and report on all jobs, in their order.

    Where there is something to do, it is put on record first, as a run that ``resume`` can finish. Raises
    ``UnfinishedRunError`` where an earlier run waits for that, ``StoreError`` and ``JournalError`` when
    store or journal fail; what was published until then stays.
    """
    refuse_unfinished(forge.runs, plan.store)
    done = _done(plan, forge.store.root, forge.signer.doubts, forge.observer, explained)
    reports = {number: cached_report(plan.jobs[number], found) for number, found in done.items()}
    reports |= skipped_reports(plan)
    for found in done.values():
        touch(found.item.path)  # still wanted
    if len(reports) == len(plan.jobs):
        return _show(plan, make_report(plan, reports, plan.command), forge.observer)
    forge.signer.ready()
    return execute(forge, forge.runs.begin(plan), plan, reports, command=plan.command)


def plan_only(
    plan: RunPlan, root: Path, doubts: Doubts, observer: Observer, *, explained: bool = False
) -> Report:
    """What ``compile_blueprints`` would do for a store at ``root``, which need not exist. Writes nothing."""
    done = _done(plan, root, doubts, observer, explained)
    reports = {
        number: cached_report(job, done[number])
        if number in done
        else without_bundle(job, "would be compiled", "dry_run")
        for number, job in enumerate(plan.jobs)
    } | skipped_reports(plan)
    return _show(plan, make_report(plan, reports, plan.command), observer)


def _show(plan: RunPlan, report: Report, observer: Observer) -> Report:
    cached = report.counts["cached"]
    observer.on_event(RunStarted(plan.command, len(plan.jobs), cached, 0))
    for number, job in enumerate(report.jobs):
        if job.bundle:
            observer.on_event(JobFinished(number, job))
    observer.on_event(RunFinished(report))
    return report


def _done(
    plan: RunPlan, root: Path, doubts: Doubts, observer: Observer, explained: bool
) -> dict[int, Cached]:
    """The jobs whose bundles are there, by number. What is there and does not count is said."""
    options = plan.options
    catalogue = Catalogue(root, {job.blueprint_id for job in plan.jobs})
    for text in catalogue.damaged:
        observer.on_event(Notice("warning", f"passed over a damaged bundle: {text}"))
    done = {}
    for number, job in enumerate(plan.jobs):
        found = None if options.force else look_up(catalogue, job, options.signing.how, doubts)
        if found is not None and found.problem is None:
            done[number] = found
        if number in plan.skipped:
            continue
        if found is not None and found.problem is not None:
            text = f"{job.blueprint_id}: unchanged, but its bundle {found.item.version} does not count"
            observer.on_event(Notice("warning", f"{text}: {found.problem}"))
        elif explained:
            observer.on_event(Notice("info", _explain(job, catalogue, number in done, options)))
    return done


def _explain(job: Job, catalogue: Catalogue, done: bool, options: CompileOptions) -> str:
    """Why a job is or is not to be done, in one line."""
    newest = catalogue.newest(job.blueprint_id)
    if done:
        return f"{job.blueprint_id}: unchanged"
    if newest is None:
        return f"{job.blueprint_id}: no bundle yet"
    changed = explain(newest.key_factors, job.key_factors)
    if changed:
        return f"{job.blueprint_id}: {'; '.join(changed)}"
    if options.force:
        return f"{job.blueprint_id}: unchanged, compiled again by --force"
    if newest.eager_fallback and newest.reason:
        return f"{job.blueprint_id}: unchanged, but it fell back ({newest.reason.kind}) and is tried again"
    return f"{job.blueprint_id}: unchanged, and to be compiled again"
