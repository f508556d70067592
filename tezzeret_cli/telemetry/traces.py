"""Events of a run → spans: one for the run, one for each job below it, one for each stage below that."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Callable

import msgspec

from tezzeret_cli.model.events import Event, JobFinished, JobStage, JobStarted, RunFinished, RunStarted
from tezzeret_cli.model.report import JobReport
from tezzeret_cli.model.telemetry import Span

RUN, JOB, STAGE = "tezzeret.run", "tezzeret.job", "tezzeret.stage"


class _Open(msgspec.Struct):
    """A job that goes on: ``stage`` began at ``since``, ``stages`` are over."""

    span: Span
    since: str
    stage: str | None
    stages: list[Span]


class Tracer:
    """Remembers what began, and gives spans when it ends; a job that never ends has none. ``identity`` makes
    a span's id."""

    def __init__(self, identity: Callable[[], str] = lambda: secrets.token_hex(8)) -> None:
        self._identity = identity
        self._run: Span | None = None
        self._jobs: dict[int, _Open] = {}

    def on_event(self, event: Event, now: datetime.datetime) -> tuple[Span, ...]:
        """The spans that ``event``, at ``now``, brings to an end."""
        moment = now.isoformat(timespec="milliseconds")
        match event:
            case RunStarted(command):
                self._jobs.clear()
                self._run = Span(self._identity(), RUN, moment, moment, attributes={"command": command})
            case JobStarted(number, blueprint_id, name, _):
                about = {"blueprint_id": blueprint_id, "name": name}
                parent = self._run.id if self._run else ""
                span = Span(self._identity(), JOB, moment, moment, parent, about)
                self._jobs[number] = _Open(span, moment, None, [])
            case JobStage(number, stage) if number in self._jobs:
                self._enter(self._jobs[number], stage, moment)
            case JobFinished(number, report) if number in self._jobs:
                return self._job(self._jobs.pop(number), report, moment)
            case RunFinished(report) if self._run is not None:
                about = {**self._run.attributes, "interrupted": str(report.interrupted).lower()}
                if report.run:
                    about["run"] = report.run
                ended = msgspec.structs.replace(self._run, end=moment, attributes=about)
                self._run = None
                return (ended,)
            case _:
                pass
        return ()

    def _enter(self, job: _Open, stage: str | None, moment: str) -> None:
        if job.stage is not None:
            about = {"stage": job.stage}
            job.stages.append(Span(self._identity(), STAGE, job.since, moment, job.span.id, about))
        job.stage, job.since = stage, moment

    def _job(self, job: _Open, report: JobReport, moment: str) -> tuple[Span, ...]:
        self._enter(job, None, moment)
        about = {**job.span.attributes, "strategy": report.strategy, "status": report.status.value}
        return (msgspec.structs.replace(job.span, end=moment, attributes=about), *job.stages)
