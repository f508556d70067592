"""The forms that a report is printed in: ``--output-format``, and ``--json`` for one of them."""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tezzeret_cli.errors import InputError
from tezzeret_cli.settings import SUMMARY_VARIABLE
from tezzeret_cli.telemetry.outcomes import Suite
from tezzeret_cli.telemetry.text import aligned, clean, tabbed


class Format(enum.StrEnum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    JUNIT = "junit"


class CommandFlags(msgspec.Struct, frozen=True, kw_only=True):
    """What every command is given that does something to a store and shows it. ``settings`` are those that
    the command line may overrule, ``None`` where it does not; the rest is how to show what was done."""

    settings: Mapping[str, Any]
    form: Format = Format.TEXT
    quiet: bool = False
    verbosity: int = 0


def read_format(name: str | None, *, json: bool) -> Format:
    """The form that was asked for. Raises ``InputError``."""
    try:
        wanted = Format(name) if name is not None else Format.JSON if json else Format.TEXT
    except ValueError:
        known = ", ".join(Format)
        raise InputError(f"--output-format {name}: unknown format", advice=f"use one of {known}") from None
    if json and wanted is not Format.JSON:
        raise InputError(f"--json and --output-format {name} exclude each other", advice="leave one out")
    return wanted


def write_report(form: Format, report: msgspec.Struct, suites: Sequence[Suite]) -> None:
    """Print a report on stdout in any form but text, which each command shows in its own way. ``suites`` are
    the report as outcomes."""
    if form is Format.JSON:
        _write(msgspec.json.encode(report) + b"\n")
    elif form is Format.JUNIT:
        from tezzeret_cli.telemetry.junit import junit

        _write(junit(suites).encode())
    elif form is Format.GITHUB:
        from tezzeret_cli.telemetry.github import summary, workflow_commands

        _write(workflow_commands(suites).encode())
        if path := os.environ.get(SUMMARY_VARIABLE):
            _append(path, summary(suites))


def write_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows on stdout: in columns on a terminal, with tabs elsewhere."""
    sys.stdout.write(aligned(rows) if sys.stdout.isatty() else tabbed(rows))
    sys.stdout.flush()


def _write(data: bytes) -> None:
    """Bytes, since these forms are UTF-8 whatever the locale is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _append(path: str, text: str) -> None:
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        sys.stderr.write(f"warning: {SUMMARY_VARIABLE}: {clean(path)}: {error.strerror}\n")
