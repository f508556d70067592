"""Observers for pipes, logs and ``--quiet``."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

from tezzeret_cli.model.events import (
    BreakerMoved,
    Event,
    JobFinished,
    JobStage,
    ModeEntered,
    Notice,
    NullObserver,
    RunFinished,
    RunStarted,
)
from tezzeret_cli.model.report import Status
from tezzeret_cli.telemetry.text import (
    HEADINGS,
    LEVELS,
    breaker_line,
    clean,
    end_line,
    job_line,
    mode_line,
    note_lines,
    row,
    start_line,
    tabbed,
)


class SilentObserver(NullObserver):
    """Shows nothing for the length of a run."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class PlainObserver(SilentObserver):
    """One line for each finished job on ``stream``, and a table of tab-separated rows on ``table``."""

    def __init__(self, stream: TextIO, table: TextIO | None, verbosity: int) -> None:
        self._stream = stream
        self._table = table
        self._verbosity = verbosity
        self._total = 0
        self._finished = 0
        self._started = time.monotonic()

    def on_event(self, event: Event) -> None:
        match event:
            case RunStarted(_, total, cached, workers):
                self._total, self._finished = total, 0
                self._started = time.monotonic()
                self._say(start_line(total, cached, workers))
            case JobFinished(_, report):
                self._finished += 1
                if report.status is not Status.CACHED or self._verbosity:
                    self._say(f"[{self._finished}/{self._total}] {job_line(report)}")
                for line in note_lines(report) if self._verbosity else ():
                    self._say(line)
            case ModeEntered(reasons):
                self._say(mode_line(reasons))
            case BreakerMoved(breaker, phase):
                self._say(f"warning: {breaker_line(breaker, phase)}")
            case JobStage(number, stage) if self._verbosity > 1:
                self._say(f"job {number}: {clean(stage)}")
            case Notice(level, message) if LEVELS.get(level, 0) <= self._verbosity:
                self._say(f"{level}: {clean(message)}" if level == "warning" else clean(message))
            case RunFinished(report):
                if self._table is not None:
                    self._table.write(tabbed([HEADINGS, *map(row, report.jobs)]))
                    self._table.flush()
                self._say(end_line(report, time.monotonic() - self._started))
            case _:
                return

    def _say(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
