"""Run attempts side by side until all jobs have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tezzeret_cli.model.events import JobFinished, JobStage, JobStarted, Observer
from tezzeret_cli.model.job import Job
from tezzeret_cli.model.report import JobReport
from tezzeret_cli.ops.attempt import Attempt
from tezzeret_cli.worker.task import Runner, TaskEnded, TaskStage

POLL_S = 0.25

MakeAttempt = Callable[[int, Job], Attempt]


class JobLoop:
    """Keeps up to ``workers`` attempts running. ``stop`` may be called from a signal handler."""

    def __init__(self, runner: Runner, make_attempt: MakeAttempt, workers: int, observer: Observer) -> None:
        self._runner = runner
        self._make_attempt = make_attempt
        self._workers = workers
        self._observer = observer
        self._running: dict[int, Attempt] = {}
        self.stopped = False

    def stop(self) -> None:
        """Start nothing more, and end what is running."""
        self.stopped = True

    def run(self, jobs: Sequence[tuple[int, Job]]) -> dict[int, JobReport]:
        """The report of every job that ended, by its number; jobs never started have none."""
        waiting = iter(jobs)
        reports: dict[int, JobReport] = {}
        cancelled = False
        try:
            while True:
                if self.stopped and not cancelled:
                    cancelled = True
                    self._runner.cancel()
                if not cancelled:
                    self._fill(waiting)
                if not self._running:
                    return reports
                for event in self._runner.wait(POLL_S):
                    if isinstance(event, TaskStage):
                        self._running[event.task].stage = event.stage
                        self._observer.on_event(JobStage(event.task, event.stage))
                    else:
                        self._advance(event, reports)
        finally:
            for attempt in self._running.values():
                attempt.close()

    def _fill(self, waiting: Iterator[tuple[int, Job]]) -> None:
        while len(self._running) < self._workers:
            following = next(waiting, None)
            if following is None:
                return
            number, job = following
            self._observer.on_event(
                JobStarted(number, job.blueprint_id, job.descriptor.name, job.strategy.name)
            )
            attempt = self._make_attempt(number, job)
            self._running[number] = attempt
            self._runner.start(attempt.task)

    def _advance(self, event: TaskEnded, reports: dict[int, JobReport]) -> None:
        attempt = self._running[event.task]
        attempt.ended(event.ending)
        if attempt.report is None:
            if not self.stopped:
                self._runner.start(attempt.task)
                return
            del self._running[event.task]
            attempt.close()
            return
        del self._running[event.task]
        attempt.close()
        reports[event.task] = attempt.report
        self._observer.on_event(JobFinished(event.task, attempt.report))
