"""The pages for people: what is checked of them."""

from __future__ import annotations

from tests.support.command import ROOT
from tests.support.markdown import Page, read_page

PAGES: tuple[Page, ...] = tuple(
    read_page(path) for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
)
RUN = ("sh", "python")
"""Languages of what is run. Everything else is only parsed."""


def name_of(page: Page) -> str:
    return page.path.relative_to(ROOT).as_posix()
