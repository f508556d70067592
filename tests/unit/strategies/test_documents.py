"""The one table of strategies, as the help and the documents show it."""

from __future__ import annotations

import re

import pytest

from tests.support.command import ROOT
from tezzeret_cli.cli.compile import EXAMPLES
from tezzeret_cli.strategies import STRATEGIES


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_help_and_documents_show_the_table(strategy):
    words = (
        strategy.name,
        f"{strategy.timeout_s:g} s",
        f"{strategy.memory_bytes >> 30} GiB",
        strategy.summary,
    )
    rows = [
        re.sub(r"\s+", " ", line.replace("|", " ").replace(",  ", ", ")).strip()
        for line in EXAMPLES.splitlines()
    ]
    assert f"{words[0]} {words[1]}, {words[2]} {words[3]}" in rows
    assert f"| {' | '.join(words)} |" in (ROOT / "docs" / "strategies.md").read_text()
