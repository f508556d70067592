"""What pages name is there: files, headings, commands, options, variables, settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from command_line import read_app

from tests.docs.pages import PAGES, name_of
from tests.support.command import ROOT
from tests.support.markdown import Page, read_page
from tezzeret_cli.cli.main import app
from tezzeret_cli.leyline.descriptors import builtin_catalogue
from tezzeret_cli.model.descriptor import Descriptor
from tezzeret_cli.profile import Rule
from tezzeret_cli.settings import CONFIG_VARIABLE, PASSPHRASE_VARIABLE, PREFIX, Settings

COMMANDS = {
    c.words[-1]: {s for o in c.options for s in o.spellings} for c in read_app(app, "tezzeret").every()
}
OPTIONS = {option for options in COMMANDS.values() for option in options}
VARIABLES = {f"{PREFIX}{name.upper()}" for name in Settings.__struct_fields__} | {
    CONFIG_VARIABLE,
    PASSPHRASE_VARIABLE,
}
OF_OTHERS = {"--gc-sections", "--fault-size", "--check", "--full", "--stock"}
"""Options of linkers, tests and benchmarks that pages name on their own."""

_END = re.compile(r"^(?:[|&;<>].*|\d?>.*|#.*|\|\|)$")


def broken(page: Page) -> Iterator[str]:
    for link in page.links:
        target, _, anchor = link.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        path = (page.path.parent / target).resolve() if target else page.path
        there = path.exists() and path.is_relative_to(ROOT)
        if not there or (anchor and anchor not in read_page(path).anchors):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Page):
    assert list(broken(page)) == []


def test_a_broken_link_is_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A title\n\n[a](gone.md) [b](#a-title) [c](#no-title) ![d](gone.svg) [e](https://example.com)\n"
    )
    assert [link for link in broken(read_page(page)) if "a-title" not in link] == [
        "gone.md",
        "#no-title",
        "gone.svg",
    ]


def test_every_page_is_reached_by_links_from_the_readme():
    pages = {page.path: page for page in PAGES}
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        if path in pages:
            targets = [link.partition("#")[0] for link in pages[path].links if "://" not in link]
            waiting += [(path.parent / target).resolve() for target in targets if target]
    lost = [p for p in pages if p not in reached and p.parent not in reached]
    assert [p.name for p in lost if p != ROOT / "CHANGELOG.md"] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_page_names_is_there(page: Page):
    named = [w for w in page.words if re.fullmatch(r"(docs|tests|tools|bench|examples|fixtures)/[\w./-]*", w)]
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_picture_is_of_blueprints_that_there_are():
    text = "".join(ElementTree.parse(ROOT / "docs" / "forge.svg").getroot().itertext()).replace("\xa0", " ")
    seen = set(re.findall(r"(BP\d+) (\w+)", text))
    assert len(seen) > 2
    assert seen <= {(found.blueprint_id, found.name) for found in builtin_catalogue()}
    assert "done, 2 running" in text


def calls(text: str) -> Iterator[tuple[str, list[str]]]:
    """Every ``tezzeret COMMAND`` in a piece of shell, Markdown or YAML, with its options."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for match in re.finditer(r"(?<![\w./-])(?:/usr/local/bin/)?tezzeret ([a-z]+)\b([^\n;&|]*)", joined):
        words = re.split(r"\s+", match[2].replace("`", " # "))
        own: list[str] = []
        for word in words:
            if _END.match(word):
                break
            if re.match(r"--?[a-zA-Z]", word):
                own.append(re.split(r"[=\[]", word)[0].rstrip(".,;:)'\""))
        yield match[1], own


def wrong(text: str) -> list[str]:
    found = []
    for command, options in calls(text):
        if command not in COMMANDS:
            found.append(command)
        else:
            known = COMMANDS[command]
            found += [f"{command} {o}" for o in options if o not in known and o[:2] not in known]
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_and_option_is_there(page: Page):
    folded = [re.sub(r"\n\s+(?=--|\|\|)", " ", block.text) for block in page.blocks]
    code = "\n".join([*folded, *page.words])
    assert wrong(code) == []
    alone = [shlex.split(word)[0].split("=")[0] for word in page.words if word.startswith("--")]
    assert [option for option in alone if option not in OPTIONS | OF_OTHERS] == []


def test_a_wrong_option_is_found():
    assert wrong("tezzeret gc --stroe x --ttl 30d && tezzeret compile -j2 -vv --store y --dry-ran") == [
        "gc --stroe",
        "compile --dry-ran",
    ]
    assert wrong("tezzeret compile -j2 -vv --store y \\\n  --dry-ran # --nothing") == ["compile --dry-ran"]
    assert wrong("17 3 * * * tezzeret collect --store x") == ["collect"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_variable_is_there(page: Page):
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", page.path.read_text()))
    assert named - VARIABLES - {f"{PREFIX}_"} == set()


def test_the_page_of_inputs_has_every_field():
    (page,) = (page for page in PAGES if name_of(page) == "docs/reference/inputs.md")
    assert {*Descriptor.__struct_fields__, *Rule.__struct_fields__} <= set(page.words)
