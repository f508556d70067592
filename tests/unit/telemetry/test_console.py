"""The live view, as text."""

from __future__ import annotations

import io

from rich.console import Console

from tezzeret_cli.model.events import JobFinished, JobStage, JobStarted, RunStarted
from tezzeret_cli.model.report import JobReport, Status
from tezzeret_cli.telemetry.console import ConsoleObserver


def shown(observer: ConsoleObserver) -> list[str]:
    console = Console(file=io.StringIO(), record=True, width=120)
    console.print(observer)
    return [line for line in console.export_text().splitlines() if line.strip()]


def test_what_runs_is_shown_with_its_stage_and_what_ended_as_a_line():
    log = Console(file=io.StringIO(), record=True, width=120)
    with ConsoleObserver(table=False, verbosity=0, console=log) as observer:
        observer.on_event(RunStarted("compile", 3, 0, 2))
        observer.on_event(JobStarted(0, "BP001", "first", "standard"))
        observer.on_event(JobStarted(1, "BP002", "[bold]second", "standard"))
        observer.on_event(JobStage(1, "capture"))
        everything, first, second = shown(observer)
        assert "all jobs" in everything
        assert "0 done, 2 running" in everything
        assert ("BP001 first" in first, "starting" in first) == (True, True)
        assert ("BP002 [bold]second" in second, "capture" in second) == (True, True)
        report = JobReport(
            "BP001", "1.0.0", Status.COMPILED, "standard", 1500.0, False, None, "x", name="first"
        )
        observer.on_event(JobFinished(0, report))
        everything, second = shown(observer)
        assert "1 done, 1 running" in everything
        assert "BP002" in second
    assert log.export_text().splitlines()[0] == "BP001 first: compiled 1.0.0 in 1.5 s"
