"""What stands in a help text: paragraphs, blocks kept as they are, exit codes."""

from __future__ import annotations

import re
import textwrap


def paragraphs(text: str) -> list[str]:
    return [part for part in re.split(r"\n[ \t]*\n", text) if part.strip()]


def block(paragraph: str) -> tuple[str, list[str]] | None:
    """A paragraph kept as it is (``\\b``), under a title with a colon."""
    first, *lines = paragraph.splitlines()
    if first.strip() != "\b" or not lines or not lines[0].endswith(":"):
        return None
    return lines[0].removesuffix(":"), textwrap.dedent("\n".join(lines[1:])).splitlines()


def codes(paragraph: str) -> dict[str, str]:
    """``Exit codes: 0 all done, 1 a job failed.`` as a table; empty for any other paragraph."""
    start, _, rest = " ".join(paragraph.split()).partition(": ")
    if start != "Exit codes":
        return {}
    entries = re.split(r", (?=\d)", rest.rstrip("."))
    found = [re.fullmatch(r"(\d+(?: or \d+)*) (.+)", entry) for entry in entries]
    return {match[1]: f"{match[2][:1].upper()}{match[2][1:]}." for match in found if match}
