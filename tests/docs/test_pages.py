"""What a page tells people to type works as it stands, from top to bottom, in an empty folder and home."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, RUN, name_of
from tests.support.command import ROOT
from tests.support.markdown import Block, Page

GIVEN = {"a store with BP002": "store"}
"""What a page may take for granted, and as what it is in its folder."""

WORKED = [page for page in PAGES if any(b.language in RUN and not b.not_run for b in page.blocks)]


@dataclass(frozen=True)
class Place:
    """A folder and a home, with ``tezzeret`` and ``python`` on the path. Compiled headers are shared."""

    folder: Path
    home: Path
    cache: Path
    programs: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        return kept | {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.cache),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
        }

    def run(self, block: Block) -> subprocess.CompletedProcess[str]:
        words = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else ["python", "-c"]
        return subprocess.run(
            [*words, block.text],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )


def place(root: Path, cache: Path) -> Place:
    found = Place(root / "folder", root / "home", cache, root / "bin")
    for folder in (found.folder, found.home, found.programs):
        folder.mkdir()
    for name, words in {"tezzeret": f"{sys.executable} -P -m tezzeret_cli", "python": sys.executable}.items():
        (found.programs / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (found.programs / name).chmod(0o755)
    return found


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    """A place whose store has one bundle, signed by a key that its home trusts."""
    root = tmp_path_factory.mktemp("furnished")
    found = place(root, root / "cache")
    made = Block(ROOT, 0, "sh", "tezzeret compile --store ./store --select BP002", "")
    done = found.run(made)
    assert done.returncode == 0, done.stdout
    return found


@pytest.mark.parametrize("page", WORKED, ids=name_of)
def test_a_page_works_as_it_stands(page: Page, furnished, tmp_path):
    here = place(tmp_path, furnished.cache)
    if page.given:
        shutil.copytree(furnished.folder / GIVEN[page.given], here.folder / GIVEN[page.given])
        shutil.copytree(furnished.home / ".config", here.home / ".config")
    output: str | None = None
    for block in page.blocks:
        if block.file:
            path = here.folder / block.file.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language in RUN and not block.not_run:
            done = here.run(block)
            assert done.returncode == block.exit, f"{block.place}\n{block.text}\n{done.stdout}"
            output = done.stdout
            continue
        elif block.language == "text" and output is not None:
            lacking = missing(block.text, output)
            assert lacking is None, f"{block.place}: no {lacking!r} in\n{output}"
        output = None


def missing(shown: str, output: str) -> str | None:
    """The first line of ``shown`` that ``output`` does not have, in order; ``…`` stands for anything."""
    lines = iter(output.splitlines())
    for wanted in filter(str.strip, shown.splitlines()):
        pattern = re.compile(
            re.sub(r"(\\ )+|\t", r"\\s+", ".*".join(map(re.escape, wanted.strip().split("…"))))
        )
        if not any(pattern.fullmatch(line.strip()) for line in lines):
            return wanted
    return None


def test_shown_output_is_compared():
    output = "id\tname\nBP002  linear  in 7.7 s\ndone\n"
    assert missing("id name\nBP002 linear in … s\n", output) is None
    assert missing("done\nid name\n", output) == "id name"
    assert missing("BP002 linear in … ms\n", output) == "BP002 linear in … ms"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_people_are_told_which_file_a_block_is(page: Page):
    told = [block for block in page.blocks if block.file]
    assert [block.place for block in told if f"`{block.file}`" not in block.before] == []
