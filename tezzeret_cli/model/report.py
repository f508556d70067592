"""How a run ended, job by job: the report of ``--json`` (schema 1) and the exit code it implies."""

from __future__ import annotations

import enum

import msgspec

from tezzeret_cli.errors import ExitCode


class Status(enum.StrEnum):
    COMPILED = "compiled"
    CACHED = "cached"
    FALLBACK = "fallback"
    FAILED = "failed"
    SKIPPED = "skipped"


class JobReport(msgspec.Struct, frozen=True, omit_defaults=False):
    """One job's end. ``bundle`` is the store-relative directory; ``reason`` is one line for people.

    ``eager_fallback`` repeats the bundle's own flag, so a cached fallback is seen too.
    ``strategy`` is the one that the job ended with, ``strategy_reason`` says why another one than was asked
    for began, or how ``auto`` chose. ``quarantine_only`` jobs do not count towards the exit code (except
    with ``--strict``).
    """

    blueprint_id: str
    version: str | None
    status: Status
    strategy: str
    duration_ms: float
    eager_fallback: bool
    reason: str | None
    bundle: str | None
    name: str = ""
    reason_kind: str | None = None
    quarantine_only: bool = False
    prewarm_p50_ms: float | None = None
    prewarm_p95_ms: float | None = None
    notes: tuple[str, ...] = ()
    strategy_reason: str | None = None
    peak_memory_bytes: int = 0


class Report(msgspec.Struct, frozen=True):
    """The whole run. ``run`` is its id in the journal, ``None`` when there was nothing to do;
    ``recovered`` says, a line each, what was taken over from a run that died. ``conservative`` are the
    reasons why the run was in that mode, at least for a time; ``breakers`` are their phases at its end.
    ``shard`` is such as ``2/8`` where only that part of the jobs was the run's."""

    schema: int
    command: str
    jobs: tuple[JobReport, ...]
    counts: dict[str, int]
    interrupted: bool = False
    run: str | None = None
    recovered: tuple[str, ...] = ()
    conservative: tuple[str, ...] = ()
    breakers: dict[str, str] = {}
    shard: str | None = None


def exit_code(report: Report, *, strict: bool = False) -> ExitCode:
    """The exit status of a finished run: 130 when interrupted, else 1 before 3 before 0."""
    if report.interrupted:
        return ExitCode.INTERRUPTED
    counted = [job for job in report.jobs if strict or not job.quarantine_only]
    if any(job.status is Status.FAILED for job in counted):
        return ExitCode.JOB_FAILED
    if any(job.eager_fallback for job in counted if job.status is not Status.SKIPPED):
        return ExitCode.FELL_BACK
    return ExitCode.OK
