"""Run attempts side by side until all jobs have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from tezzeret_cli.model.events import JobFinished, JobRetried, JobStage, JobStarted, Notice, Observer
from tezzeret_cli.model.job import Job
from tezzeret_cli.model.report import JobReport
from tezzeret_cli.ops.attempt import Attempt, Failure
from tezzeret_cli.ops.endings import lacking_line
from tezzeret_cli.worker.task import Lacking, Runner, TaskEnded, TaskStage

POLL_S = 0.25

Start = Callable[[int, Job], Attempt | JobReport | None]


class Admission(Protocol):
    """Says what may start beside what is running, and is told how it ended."""

    def tick(self) -> None: ...

    def may_start(self, number: int, job: Job, running: Sequence[Job]) -> bool: ...

    def ended(self, job: Job, report: JobReport, failures: Sequence[Failure]) -> None: ...


class JobLoop:
    """Keeps up to ``workers`` attempts running. ``stop`` may be called from a signal handler.

    ``start`` gives the attempt at a job, its report when it turns out to be done, or ``None`` while another
    run is doing it: then it is asked again later.
    """

    def __init__(
        self, runner: Runner, start: Start, workers: int, observer: Observer, admission: Admission
    ) -> None:
        self._runner = runner
        self._start = start
        self._workers = workers
        self._observer = observer
        self._admission = admission
        self._running: dict[int, Attempt] = {}
        self._waiting: list[tuple[int, Job]] = []
        self._elsewhere: set[int] = set()
        self.stopped = False

    def stop(self) -> None:
        """Start nothing more, and end what is running."""
        self.stopped = True

    def run(self, jobs: Sequence[tuple[int, Job]]) -> dict[int, JobReport]:
        """The report of every job that ended, by its number; jobs that did not have none."""
        self._waiting = list(jobs)
        reports: dict[int, JobReport] = {}
        cancelled = False
        try:
            while True:
                if self.stopped and not cancelled:
                    cancelled = True
                    self._runner.cancel()
                self._admission.tick()
                if not cancelled:
                    self._fill(reports)
                if not self._running:
                    if cancelled or not self._waiting:
                        return reports
                    time.sleep(POLL_S)
                    continue
                for event in self._runner.wait(POLL_S):
                    if isinstance(event, TaskStage):
                        self._running[event.task].stage = event.stage
                        self._observer.on_event(JobStage(event.task, event.stage))
                    elif isinstance(event, Lacking):
                        self._observer.on_event(Notice("warning", lacking_line(event)))
                    else:
                        self._advance(event, reports)
        finally:
            for attempt in self._running.values():
                attempt.close()

    def _fill(self, reports: dict[int, JobReport]) -> None:
        postponed = []
        while self._waiting and len(self._running) < self._workers:
            number, job = self._waiting[0]
            if not self._admission.may_start(
                number, job, [attempt.job for attempt in self._running.values()]
            ):
                break
            self._waiting.pop(0)
            started = self._start(number, job)
            if started is None:
                postponed.append((number, job))
                self._say_elsewhere(number, job)
                continue
            if isinstance(started, JobReport):
                reports[number] = started
                self._observer.on_event(JobFinished(number, started))
                continue
            self._running[number] = started
            strategy = started.job.strategy.name
            self._observer.on_event(JobStarted(number, job.blueprint_id, job.descriptor.name, strategy))
            self._runner.start(started.task)
        self._waiting = postponed + self._waiting

    def _say_elsewhere(self, number: int, job: Job) -> None:
        if number not in self._elsewhere:
            self._elsewhere.add(number)
            self._observer.on_event(
                Notice("info", f"{job.blueprint_id}: another run is doing it; waiting for that")
            )

    def _advance(self, event: TaskEnded, reports: dict[int, JobReport]) -> None:
        attempt = self._running[event.task]
        known = len(attempt.failures)
        attempt.ended(event.ending, event.peak_bytes)
        for failure in attempt.failures[known:]:
            job = attempt.job
            self._observer.on_event(
                JobRetried(event.task, job.blueprint_id, job.strategy.name, failure.message)
            )
        if attempt.report is None and not attempt.was_lost:
            if not self.stopped:
                self._runner.start(attempt.task)
                return
            attempt.lost("interrupted")
        del self._running[event.task]
        attempt.close()
        if attempt.report is not None:
            self._admission.ended(attempt.job, attempt.report, attempt.failures)
            reports[event.task] = attempt.report
            self._observer.on_event(JobFinished(event.task, attempt.report))
