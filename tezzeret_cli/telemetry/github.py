"""Outcomes for GitHub Actions: annotations as workflow commands, and a step summary in Markdown. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from tezzeret_cli.telemetry.outcomes import Outcome, Suite, Verdict
from tezzeret_cli.telemetry.text import clean, seconds

LIMIT = 1 << 20
"""Bytes of one step's summary; GitHub refuses a longer one as a whole."""

_COMMANDS = {Verdict.FAILED: "error", Verdict.WARNED: "warning"}
_LINE = re.compile(r"[^\r\n]+")
_MARKDOWN = re.compile(r"([\\`*_\[\]|~<>&#])")


def workflow_commands(suites: Sequence[Suite]) -> str:
    """A workflow command for each outcome that failed or fell back, and for each warning."""
    lines = []
    for suite in suites:
        for outcome in suite.outcomes:
            if outcome.verdict in _COMMANDS:
                title = f"{outcome.name}: {outcome.status}"
                lines.append(_command(_COMMANDS[outcome.verdict], title, outcome.reason or outcome.status))
        lines += [_command("warning", f"tezzeret {suite.command}", note) for note in suite.warnings]
    return "".join(lines)


def summary(suites: Sequence[Suite], room: int = LIMIT) -> str:
    """What is appended to the step's summary: a table for each run, in at most ``room`` bytes."""
    lines = [line for suite in suites for line in _table(suite)]
    end = "\nFurther lines did not fit.\n"
    text, kept = "", room - len(end)
    for line in lines:
        if len(text.encode()) + len(line.encode()) > kept:
            return text + end
        text += line
    return text


def _command(name: str, title: str, message: str) -> str:
    return f"::{name} title={_property(title)}::{_data(message)}\n"


def _data(text: str) -> str:
    """A message: its lines stay, other control characters do not reach the log."""
    shown = _LINE.sub(lambda line: clean(line[0]), text)
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _table(suite: Suite) -> Iterator[str]:
    counts = Counter(outcome.status for outcome in suite.outcomes)
    said = ", ".join(f"{count} {status}" for status, count in counts.items()) or "nothing to do"
    part = f" (shard {suite.facts['shard']})" if "shard" in suite.facts else ""
    yield f"### tezzeret {_cell(suite.command + part)}: {_cell(said)}\n\n"
    said_too = (*suite.notes, *suite.warnings)
    yield from (f"- {_cell(note)}\n" for note in said_too)
    if said_too:
        yield "\n"
    if suite.outcomes:
        yield "| | status | took | reason |\n|---|---|---|---|\n"
        yield from map(_row, suite.outcomes)
        yield "\n"


def _row(outcome: Outcome) -> str:
    took = seconds(outcome.seconds * 1e3) if outcome.seconds else ""
    cells = (outcome.name, outcome.status, took, outcome.reason or "")
    return f"| {' | '.join(map(_cell, cells))} |\n"


def _cell(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", clean(text))
