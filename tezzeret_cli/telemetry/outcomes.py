"""Reports → outcomes, a line each: what formats for CI services are made from. Pure."""

from __future__ import annotations

import enum

import msgspec

from tezzeret_cli.model.prewarm import Prewarmed, PrewarmReport
from tezzeret_cli.model.report import JobReport, Report, Status
from tezzeret_cli.model.verification import BundleCheck, VerifyReport


class Verdict(enum.StrEnum):
    """``warned`` is what passed and should be looked at."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    SKIPPED = "skipped"


class Outcome(msgspec.Struct, frozen=True):
    """How one job or bundle ended. ``reason`` says why, ``kind`` is a stable word for it, ``details`` are
    further lines for people. ``seconds`` is what it took, 0 where nothing was measured."""

    name: str
    status: str
    verdict: Verdict
    seconds: float = 0.0
    reason: str | None = None
    kind: str | None = None
    details: tuple[str, ...] = ()


class Suite(msgspec.Struct, frozen=True):
    """A run with its outcomes. ``facts`` say which run it was, ``notes`` what was put right on the way, and
    ``warnings`` what could not be looked at."""

    command: str
    outcomes: tuple[Outcome, ...]
    facts: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def run_suite(report: Report, *, strict: bool = False) -> Suite:
    """A run of ``compile`` or ``resume``. With ``strict`` a fallback has failed."""
    facts = {name: value for name, value in (("run", report.run), ("shard", report.shard)) if value}
    outcomes = tuple(_job(job, strict) for job in report.jobs)
    return Suite(report.command, outcomes, facts, report.recovered)


def verify_suite(report: VerifyReport) -> Suite:
    return Suite(report.command, tuple(map(_check, report.bundles)), warnings=report.notes)


def prewarm_suite(report: PrewarmReport) -> Suite:
    return Suite(report.command, tuple(map(_warmed, report.bundles)))


def _job(job: JobReport, strict: bool) -> Outcome:
    verdict = Verdict.PASSED
    if job.status is Status.FAILED:
        verdict = Verdict.FAILED
    elif job.status is Status.SKIPPED:
        verdict = Verdict.SKIPPED
    elif job.eager_fallback:
        verdict = Verdict.FAILED if strict else Verdict.WARNED
    details = [f"bundle: {job.bundle}"] if job.bundle else []
    details.append(f"strategy: {job.strategy}")
    if job.strategy_reason:
        details.append(f"why that strategy: {job.strategy_reason}")
    if job.quarantine_only:
        details.append("for quarantine only: counts with --strict only")
    return Outcome(
        name=f"{job.blueprint_id} {job.name}".strip(),
        status="cached fallback" if job.eager_fallback and job.status is Status.CACHED else job.status.value,
        verdict=verdict,
        seconds=job.duration_ms / 1e3,
        reason=job.reason,
        kind=job.reason_kind,
        details=(*details, *job.notes),
    )


def _check(check: BundleCheck) -> Outcome:
    named = check.blueprint_id and check.version
    details = [f"bundle: {check.bundle}"]
    details += [text for text in (check.signed_by, check.proof) if text]
    if check.runs_here:
        details.append(f"not for this machine: {check.runs_here}")
    return Outcome(
        name=f"{check.blueprint_id} {check.version}" if named else check.bundle,
        status="verified" if check.ok else check.problem_kind or "failed",
        verdict=Verdict.PASSED if check.ok else Verdict.FAILED,
        reason=check.problem,
        kind=check.problem_kind,
        details=tuple(details),
    )


_WARMED = {
    "warmed": Verdict.PASSED,
    "fallback": Verdict.WARNED,
    "quarantined": Verdict.SKIPPED,
    "regressed": Verdict.FAILED,
    "failed": Verdict.FAILED,
}


def _warmed(bundle: Prewarmed) -> Outcome:
    took, details = 0.0, [f"bundle: {bundle.bundle}"]
    if bundle.sample is not None:
        took = bundle.sample.load_ms
        for times in bundle.sample.variants:
            took += times.first_ms + sum(times.samples_ms)
            said = (
                f"{times.name}: first {times.first_ms:g} ms, p50 {times.p50_ms:g} ms, p95 {times.p95_ms:g} ms"
            )
            details.append(said)
    return Outcome(
        name=f"{bundle.blueprint_id} {bundle.version}",
        status=bundle.status,
        verdict=_WARMED[bundle.status],
        seconds=took / 1e3,
        reason=bundle.reason,
        kind=bundle.status,
        details=tuple(details),
    )
