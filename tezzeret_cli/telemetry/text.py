"""Words for events: the same on a terminal and in a log. Nothing here writes control characters."""

from __future__ import annotations

from collections.abc import Sequence

from tezzeret_cli.model.report import JobReport, Report

LEVELS = {"warning": 0, "info": 0, "debug": 1}
"""The verbosity from which a notice is shown."""


def clean(text: str) -> str:
    """``text`` in one line, without control or format characters: it may come from a hostile module."""
    return "".join(character if character.isprintable() else "?" for character in text)


def seconds(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    total = milliseconds / 1000
    return f"{total:.1f} s" if total < 60 else f"{int(total // 60)} min {int(total % 60):02d} s"


def start_line(total: int, cached: int, workers: int) -> str:
    """What a run is about to do."""
    jobs = "1 job" if total == 1 else f"{total} jobs"
    line = f"{jobs}, {cached} already done"
    return f"{line}, {workers} at once" if workers else line


def end_line(report: Report, elapsed_s: float) -> str:
    """What a run came to, and what to do about it where it was interrupted."""
    line = f"{counts_line(report)}, in {seconds(elapsed_s * 1e3)}"
    if not report.interrupted or report.run is None:
        return line
    return f"{line}; interrupted: tezzeret resume on this store does the rest"


def job_line(report: JobReport) -> str:
    """One finished job: who, how it ended, how long it took, and why."""
    parts = [f"{clean(report.blueprint_id)} {clean(report.name)}: {report.status.value}"]
    if report.version:
        parts.append(report.version)
    if report.duration_ms:
        parts.append(f"in {seconds(report.duration_ms)}")
    if report.strategy_reason:
        parts.append(f"with {report.strategy}, since {clean(report.strategy_reason)}")
    line = " ".join(parts)
    return f"{line} ({clean(report.reason)})" if report.reason else line


def note_lines(report: JobReport) -> list[str]:
    """What is to be known of a job that ended, for who wants more than its line."""
    return [f"  {clean(note)}" for note in report.notes]


def mode_line(reasons: Sequence[str]) -> str:
    """Conservative mode entered or left."""
    return f"conservative mode: {clean('; '.join(reasons))}" if reasons else "conservative mode was left"


def breaker_line(breaker: str, phase: str) -> str:
    """A breaker that moved."""
    return f"the {clean(breaker)} breaker is {clean(phase.replace('_', ' '))}"


def counts_line(report: Report) -> str:
    """The totals, without those that are zero."""
    counts = [f"{count} {name}" for name, count in report.counts.items() if count]
    return ", ".join(counts) or "nothing to do"


def row(report: JobReport) -> tuple[str, ...]:
    """A job in the summary table; ``HEADINGS`` are its columns."""
    step = f"{report.prewarm_p50_ms:.2f}" if report.prewarm_p50_ms is not None else ""
    took = seconds(report.duration_ms) if report.duration_ms else ""
    version = report.version or ""
    return (
        clean(report.blueprint_id),
        clean(report.name),
        report.status.value,
        version,
        took,
        step,
        clean(report.reason or ""),
    )


HEADINGS = ("id", "name", "status", "version", "took", "step ms", "reason")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table for people: cells of a column below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(line.rstrip() + "\n" for line in lines)


def tabbed(rows: Sequence[Sequence[str]]) -> str:
    """A table for programs: a line for each row, cells between tabs."""
    return "".join("\t".join(row) + "\n" for row in rows)
