"""The live view on a terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from tezzeret_cli.model.events import (
    BreakerMoved,
    Event,
    JobFinished,
    JobStage,
    JobStarted,
    ModeEntered,
    Notice,
    RunFinished,
    RunStarted,
)
from tezzeret_cli.model.report import Report, Status
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
    seconds,
)

_STYLES = {
    Status.COMPILED: "green",
    Status.CACHED: "dim",
    Status.FALLBACK: "yellow",
    Status.FAILED: "red",
    Status.SKIPPED: "dim",
}


class ConsoleObserver:
    """Each running job with its stage and time; overall what is done, running and left; then a table.

    Everything from outside is put in as plain text, never as markup. ``console`` is where it is shown, by
    default stderr; an observer that is printed itself is the running jobs at that moment.
    """

    def __init__(self, *, table: bool, verbosity: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._out = Console(highlight=False)
        self._show_table = table
        self._verbosity = verbosity
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._overall: TaskID | None = None
        self._rows: dict[int, TaskID] = {}
        self._total = 0
        self._finished = 0
        self._conservative = False
        self._made = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __rich__(self) -> Progress:
        return self._progress

    def on_event(self, event: Event) -> None:
        match event:
            case RunStarted(_, total, _, _):
                self._begin(total)
            case JobStarted(number, blueprint_id, name, _):
                label = f"{clean(blueprint_id)} {clean(name)}"
                self._rows[number] = self._progress.add_task(label, total=None, note="starting")
                self._refresh()
            case JobStage(number, stage) if number in self._rows:
                self._progress.update(self._rows[number], note=clean(stage))
            case JobFinished(number, report):
                self._finished += 1
                if number in self._rows:
                    self._made += 1
                    self._progress.remove_task(self._rows.pop(number))
                if report.status is not Status.CACHED or self._verbosity:
                    self._console.print(Text(job_line(report), style=_STYLES[report.status]))
                for line in note_lines(report) if self._verbosity else ():
                    self._console.print(Text(line, style="dim"))
                self._refresh()
            case ModeEntered(reasons):
                self._conservative = bool(reasons)
                self._console.print(Text(mode_line(reasons), style="yellow"))
                self._refresh()
            case BreakerMoved(breaker, phase):
                self._console.print(Text(breaker_line(breaker, phase), style="yellow"))
            case Notice(level, message) if LEVELS.get(level, 0) <= self._verbosity:
                self._console.print(Text(clean(message), style="yellow" if level == "warning" else "dim"))
            case RunFinished(report):
                self._finish(report)
            case _:
                return

    def _begin(self, total: int) -> None:
        """One after the other, several runs may be shown."""
        for task in (*self._rows.values(), *(() if self._overall is None else (self._overall,))):
            self._progress.remove_task(task)
        self._rows.clear()
        self._conservative = False
        self._total, self._finished, self._made = total, 0, 0
        self._started = time.monotonic()
        self._overall = self._progress.add_task("all jobs", total=total, note="")
        self._progress.start()

    def _refresh(self) -> None:
        if self._overall is None:
            return
        note = f"{self._finished} done, {len(self._rows)} running"
        if self._conservative:
            note += ", conservative"
        left = self._total - self._finished
        if self._made and left:
            pace = (time.monotonic() - self._started) / self._made
            note += f", about {seconds(pace * left * 1e3)} left"
        self._progress.update(self._overall, completed=self._finished, note=note)

    def _finish(self, report: Report) -> None:
        self._progress.stop()
        if self._show_table:
            table = Table(*HEADINGS, box=None, pad_edge=False)
            for job in report.jobs:
                table.add_row(*(Text(cell) for cell in row(job)), style=_STYLES[job.status])
            self._out.print(table)
        self._console.print(Text(end_line(report, time.monotonic() - self._started)))
