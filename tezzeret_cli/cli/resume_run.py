"""What ``tezzeret resume`` does: find the runs, and finish, list or abandon them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tezzeret_cli.cli.observers import make_observer, with_telemetry
from tezzeret_cli.cli.output import CommandFlags, Format, write_report, write_table
from tezzeret_cli.cli.signals import Stop, stopping
from tezzeret_cli.cli.signing import make_signer
from tezzeret_cli.errors import ExitCode, InputError
from tezzeret_cli.host.gpu import capabilities
from tezzeret_cli.keys import host_facts
from tezzeret_cli.model.events import Notice, Observer
from tezzeret_cli.model.report import Report, Status, exit_code
from tezzeret_cli.model.run import HostFacts, RunPlan
from tezzeret_cli.ops.execute import Forge, make_report, skipped_reports, without_bundle
from tezzeret_cli.ops.prewarm_record import settle
from tezzeret_cli.ops.resume import resume_run
from tezzeret_cli.ops.unfinished import PREWARM, Life, RunSummary, abandon, summaries
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.settings import Settings, load_settings, store_of
from tezzeret_cli.store.layout import Store, existing_identity, open_store
from tezzeret_cli.store.staging import PREFIX
from tezzeret_cli.telemetry.outcomes import run_suite
from tezzeret_cli.worker.pool import WorkerPool

LIST_SCHEMA = 1


class Flags(CommandFlags, frozen=True, kw_only=True):
    """The command line as given."""

    run: str | None
    list: bool
    abandon: str | None
    dry_run: bool
    accept_tail_loss: bool
    identity_token: str | None


def run_resume(flags: Flags) -> int:
    """Do as the flags say and return the exit code. Raises ``TezzeretError``."""
    if flags.abandon and (flags.run or flags.list or flags.dry_run):
        raise InputError("--abandon goes with none of --run, --list and --dry-run", advice="give it alone")
    if (flags.abandon or flags.list) and flags.form not in (Format.TEXT, Format.JSON):
        raise InputError(
            f"--output-format {flags.form} is for runs that are resumed", advice="use text or json here"
        )
    environment = dict(os.environ)
    settings = load_settings(environment, flags.settings)
    root = Path(store_of(settings))
    identity = existing_identity(root)
    runs = Runs(Path(settings.state), identity.store_id, on_network=settings.state_on_network)
    if flags.abandon:
        kept = abandon(runs, flags.abandon, "by the operator", root)
        _say(
            flags, f"run {flags.abandon} was given up" + (f"; its journal is kept in {kept}" if kept else "")
        )
        if flags.form is Format.JSON:
            _print({"schema": LIST_SCHEMA, "abandoned": flags.abandon, "journal_kept_in": kept})
        return ExitCode.OK
    found = [summary for summary in summaries(runs) if flags.run in (None, summary.run)]
    if flags.run and not found:
        runs.folder(flags.run)
    if flags.list:
        _list(flags, found)
        return ExitCode.OK
    return _resume(flags, settings, root, runs, found, environment)


def finish_dead(
    store: Store,
    runs: Runs,
    dead: Sequence[str],
    environment: Mapping[str, str],
    observer: Observer,
    stop: Stop,
    *,
    accept_tail_loss: bool = False,
    token: str | None = None,
) -> Iterator[tuple[Report, bool]]:
    """Resume these runs one after the other until one is stopped: each report, and its run's ``strict``.
    A prewarm is settled, and has no report. ``token`` is the identity for those signed without a key."""
    for run in dead:
        ledger = runs.reopen(run, accept_tail_loss=accept_tail_loss)
        if ledger is None:
            continue
        if ledger.state.plan is None:
            observer.on_event(Notice("warning", settle(runs, ledger, store.root)))
            continue
        plan = ledger.state.plan
        try:
            signer = make_signer(plan.options.signing, environment, token)
            signer.ready()
        except BaseException:
            ledger.close()
            raise
        forge = Forge(store, runs, environment, WorkerPool, observer, stop.watch, signer)

        def facts_of(plan: RunPlan) -> HostFacts:
            level = None if plan.facts.isa == "default" else plan.facts.isa
            return host_facts(environment, level, capabilities(plan.jobs))

        with _directory(plan.directory):
            report = resume_run(forge, ledger, facts_of)
        yield report, plan.strict
        if stop.exit_code:
            return


def _resume(
    flags: Flags,
    settings: Settings,
    root: Path,
    runs: Runs,
    found: Sequence[RunSummary],
    environment: Mapping[str, str],
) -> int:
    wanted = [summary.run for summary in found if summary.life is not Life.LIVE]
    if flags.run:
        wanted = [flags.run]
    if not wanted:
        _say(flags, _nothing(root, runs, found))
        write_report(flags.form, _merged([]), [run_suite(_merged([]))])
        return ExitCode.OK
    observer = make_observer(flags)
    if flags.dry_run:
        reports = [(_would(runs.peek(run)), False) for run in wanted if _resumable(found, run)]
        for report, _ in reports:
            left = [job.blueprint_id for job in report.jobs if job.reason_kind == "dry_run"]
            _say(flags, f"{len(report.jobs) - len(left)} of {len(report.jobs)} done, to do: {' '.join(left)}")
        _show(flags, reports)
        for summary in found:
            if summary.command == PREWARM and summary.run in wanted:
                measured = f"{summary.done} of {summary.jobs} bundles were measured"
                _say(flags, f"run {summary.run}: a prewarm, would be ended; {measured}")
        damaged = [summary for summary in found if summary.problem]
        for summary in damaged:
            _say(flags, f"run {summary.run} cannot be resumed: {summary.problem}")
        return ExitCode.DAMAGED if damaged else ExitCode.OK
    with stopping() as stop, observer:
        done = list(
            finish_dead(
                open_store(root),
                runs,
                wanted,
                environment,
                with_telemetry(observer, root, settings),
                stop,
                accept_tail_loss=flags.accept_tail_loss,
                token=flags.identity_token,
            )
        )
    _show(flags, done)
    if not done:
        _say(flags, f"nothing was left to do on {root}")
    return stop.exit_code or worst(done)


def _show(flags: Flags, done: Sequence[tuple[Report, bool]]) -> None:
    merged = _merged([report for report, _ in done])
    write_report(flags.form, merged, [run_suite(report, strict=strict) for report, strict in done])


def _resumable(found: Sequence[RunSummary], run: str) -> bool:
    return any(s.run == run and s.life is Life.DEAD and s.command != PREWARM for s in found)


def _would(state: Any) -> Report:
    plan = state.plan
    reports = {
        number: state.finished.get(number) or without_bundle(job, "would be done", "dry_run")
        for number, job in enumerate(plan.jobs)
    }
    return make_report(plan, reports | skipped_reports(plan), "resume")


def _merged(reports: Sequence[Report]) -> Report:
    """One report over several runs, or none; usually there is one."""
    if len(reports) == 1:
        return reports[0]
    counts: dict[str, int] = {status.value: 0 for status in Status}
    for report in reports:
        for name, count in report.counts.items():
            counts[name] = counts.get(name, 0) + count
    return Report(
        schema=1,
        command="resume",
        jobs=tuple(job for report in reports for job in report.jobs),
        counts=counts,
        interrupted=any(report.interrupted for report in reports),
        recovered=tuple(line for report in reports for line in report.recovered),
    )


def worst(done: Sequence[tuple[Report, bool]]) -> ExitCode:
    """The exit code of several runs: each report, and whether its run was ``strict``."""
    codes = [exit_code(report, strict=strict) for report, strict in done]
    for code in (ExitCode.INTERRUPTED, ExitCode.JOB_FAILED, ExitCode.FELL_BACK):
        if code in codes:
            return code
    return ExitCode.OK


def _nothing(root: Path, runs: Runs, found: Sequence[RunSummary]) -> str:
    live = [summary.run for summary in found if summary.life is Life.LIVE]
    if live:
        return f"nothing to resume on {root}; run {live[0]} is going on"
    with contextlib.suppress(OSError):
        for folder in sorted((root / "tmp").glob(f"{PREFIX}*")):
            run = folder.name.removeprefix(PREFIX)
            if not runs.knows(run):
                return (
                    f"nothing to resume on {root} from here: run {run} was started on another host, or its "
                    "journal is gone; compile again instead, and what is there is kept"
                )
    return f"nothing to resume on {root}"


def _list(flags: Flags, found: Sequence[RunSummary]) -> None:
    if flags.form is Format.JSON:
        _print({"schema": LIST_SCHEMA, "runs": found})
        return
    rows = []
    for item in found:
        part = f", shard {item.shard}" if item.shard else ""
        what = item.problem or f"{item.done} of {item.jobs} done{part}"
        rows.append((item.run, item.life.value, item.command, item.created, what))
    write_table(rows)
    if not found:
        _say(flags, "no unfinished runs")


def _say(flags: Flags, text: str) -> None:
    if not flags.quiet:
        line = "".join(character if character.isprintable() else "?" for character in text)
        sys.stderr.write(f"{line}\n")


def _print(value: Any) -> None:
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def _directory(path: str) -> Iterator[None]:
    """Be where the run was started, if that is still there: its modules may be found from there."""
    before = os.getcwd()
    with contextlib.suppress(OSError):
        os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)
