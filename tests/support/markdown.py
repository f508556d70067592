"""What stands in a Markdown page: its blocks, with what comments before them say, links, and words of code.

A comment of its own before a block says what is done with it: ``<!-- not run: why -->``, ``<!-- exit: 4 -->``
(how its last command ends) or ``<!-- file: path -->`` (the block is what that file holds).
``<!-- given: a store with BP002 -->`` anywhere says what the page takes for granted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

_NOTE = re.compile(r"<!-- (not run|file|exit|given): (.+?) -->")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block; ``line`` is where its text begins, ``before`` the last paragraph that people see."""

    page: Path
    line: int
    language: str
    text: str
    before: str
    not_run: str | None = None
    file: str | None = None
    exit: int = 0

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True)
class Page:
    path: Path
    blocks: tuple[Block, ...]
    links: tuple[str, ...]
    words: tuple[str, ...]
    given: str | None

    @property
    def anchors(self) -> set[str]:
        """The anchors of the headings, as GitHub makes them."""
        text = _FENCED.sub("", self.path.read_text(encoding="utf-8"))
        titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def read_page(path: Path) -> Page:
    """Raises ``ValueError`` for a comment that no block follows."""
    blocks: list[Block] = []
    links: list[str] = []
    words: list[str] = []
    notes: dict[str, str] = {}
    given, before = None, ""
    for token in MarkdownIt().enable("table").parse(path.read_text(encoding="utf-8")):
        if token.type == "html_block":
            found = dict(_NOTE.findall(token.content))
            given = found.pop("given", given)
            notes |= found
        elif token.type == "fence":
            blocks.append(_block(path, token, before, notes))
            notes = {}
        elif token.type == "inline":
            if notes:
                raise ValueError(f"{path}: {notes} is followed by no block")
            before = token.content
            links += [str(child.attrs["href"]) for child in token.children or () if child.type == "link_open"]
            links += [str(child.attrs["src"]) for child in token.children or () if child.type == "image"]
            words += [child.content for child in token.children or () if child.type == "code_inline"]
    return Page(path, tuple(blocks), tuple(links), tuple(words), given)


def _block(path: Path, token: Token, before: str, notes: dict[str, str]) -> Block:
    assert token.map is not None
    return Block(
        page=path,
        line=token.map[0] + 2,
        language=token.info.strip(),
        text=token.content,
        before=before,
        not_run=notes.get("not run"),
        file=notes.get("file"),
        exit=int(notes.get("exit", 0)),
    )
