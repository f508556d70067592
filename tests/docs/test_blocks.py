"""Blocks that cannot be run here, and those that are read by other programs, are at least what they say."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import PAGES
from tests.support.markdown import Block

BLOCKS = [block for page in PAGES for block in page.blocks]
YAML = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))"
INSTRUCTIONS = {"FROM", "COPY", "RUN", "ENV", "USER", "CMD", "ENTRYPOINT", "VOLUME"}
"""What the container recipes of the pages use."""


def of(*languages: str) -> pytest.MarkDecorator:
    found = [block for block in BLOCKS if block.language in languages]
    assert found
    return pytest.mark.parametrize("block", found, ids=lambda block: block.place)


def check_shell(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{text}\n{done.stderr}"


def yaml_documents(text: str) -> list[Any]:
    """What a YAML file holds, by whatever Python here has a parser for it."""
    for python in dict.fromkeys((sys.executable, shutil.which("python3", path="/usr/bin") or sys.executable)):
        done = subprocess.run([python, "-c", YAML], input=text, capture_output=True, text=True, check=False)
        if "ModuleNotFoundError" not in done.stderr:
            assert done.returncode == 0, done.stderr
            return list(json.loads(done.stdout))
    pytest.skip("no parser for YAML is here")


def values(node: Any, *names: str) -> Iterator[Any]:
    """Everything that stands under one of these names, at any depth."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in names:
                yield value
            yield from values(value, *names)
    elif isinstance(node, list):
        for item in node:
            yield from values(item, *names)


def test_every_block_says_what_it_is():
    known = {"sh", "python", "text", "json", "toml", "yaml", "ini", "crontab", "dockerfile"}
    assert [block.place for block in BLOCKS if block.language not in known] == []


@of("sh")
def test_shell(block: Block):
    check_shell(block.text)


@of("python")
def test_python(block: Block):
    ast.parse(block.text)


@of("toml")
def test_toml(block: Block):
    tomllib.loads(block.text)


@of("json")
def test_json(block: Block):
    json.loads(block.text)


@of("yaml")
def test_yaml(block: Block):
    documents = yaml_documents(block.text)
    for document in documents:
        for script in values(document, "run"):
            check_shell(re.sub(r"\$\{\{.*?\}\}", "1", script))
        for command, args in zip(values(document, "command"), values(document, "args"), strict=True):
            assert command == ["sh", "-euc"]
            check_shell(*args)


@of("yaml")
def test_what_a_pod_mounts_are_its_volumes(block: Block):
    pods = [spec for spec in values(yaml_documents(block.text), "spec") if "containers" in spec]
    assert bool(pods) == ("apiVersion:" in block.text)
    for pod in pods:
        assert {mount["name"] for (mounts,) in [values(pod, "volumeMounts")] for mount in mounts} == {
            volume["name"] for volume in pod["volumes"]
        }


@of("crontab")
def test_crontab(block: Block):
    for line in block.text.splitlines():
        *when, command = line.split(None, 5)
        assert len(when) == 5
        assert all(re.fullmatch(r"[\d*/,-]+", field) for field in when), line
        assert "%" not in command
        check_shell(command)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_every_unit(tmp_path: Path):
    units = [block for block in BLOCKS if block.language == "ini"]
    assert {Path(unit.file or "").suffix for unit in units} == {".service", ".timer"}
    for unit in units:
        text = re.sub(r"^(ExecStart=)\S+", r"\1/bin/true", unit.text, flags=re.MULTILINE)
        (tmp_path / Path(unit.file or "").name).write_text(text)
    assert complaints(tmp_path) == ""
    broken = tmp_path / "tezzeret-gc.timer"
    broken.write_text(broken.read_text().replace("03:17", "3 past midnight"))
    assert "midnight" in complaints(tmp_path)


def complaints(folder: Path) -> str:
    words = [
        "systemd-analyze",
        "verify",
        "--man=no",
        "--recursive-errors=no",
        *map(str, sorted(folder.iterdir())),
    ]
    environment = {"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{folder}:"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    return "\n".join(line for line in done.stderr.splitlines() if str(folder) in line)


@of("dockerfile")
def test_container_recipes(block: Block):
    stages: set[str] = set()
    for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
        if not line:
            continue
        instruction, _, rest = line.partition(" ")
        assert instruction in INSTRUCTIONS, line
        words = shlex.split(rest)
        if instruction == "FROM":
            assert "/" in words[0] or words[0] in stages
            stages |= set(words[2:])
        elif instruction == "RUN":
            check_shell(re.sub(r"--mount=\S+ ", "", rest))
        elif instruction == "COPY" and words[0].startswith("--from="):
            assert words[0].removeprefix("--from=") in stages
        elif instruction in ("CMD", "ENTRYPOINT", "VOLUME"):
            assert json.loads(rest)
