"""Manual pages and completions say what the command line says, and work where they are used."""

from __future__ import annotations

import ast
import enum
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Annotated

import make_manual
import msgspec
import pytest
import typer
from command_line import read_app
from reference import spelled_settings

from tests.support.shells import completed_by_bash, completed_by_fish, completed_by_zsh
from tezzeret_cli.cli.main import app
from tezzeret_cli.errors import ExitCode
from tezzeret_cli.model.descriptor import Tier
from tezzeret_cli.settings import Settings
from tezzeret_cli.strategies import STRATEGIES

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = list(read_app(app, "tezzeret").every())
PAGES = sorted((ROOT / "man").glob("*.1"))

SHELLS = {
    "bash": ("tezzeret.bash", completed_by_bash),
    "zsh": ("_tezzeret", completed_by_zsh),
    "fish": ("tezzeret.fish", completed_by_fish),
}


def name_of(value: object) -> str:
    return " ".join(value.words) if hasattr(value, "words") else getattr(value, "name", "")


def shown(page: str) -> str:
    """A page's text as a terminal shows it, roughly."""
    text = re.sub(r"\\f[BIR]", "", page).replace("\\-", "-")
    return text.replace("\\(aq", "'").replace("\\(dq", '"').replace("\\e", "\\")


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_the_checked_in_files_are_what_the_command_line_says(seed):
    done = subprocess.run(
        [sys.executable, "tools/make_manual.py", "--check"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run tools/make_manual.py"


def test_check_names_what_differs_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_manual, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["make_manual.py"])
    assert make_manual.main() == 0
    (tmp_path / "man" / "tezzeret-gone.1").write_text("of a command that was taken away")
    (tmp_path / "completions" / "_tezzeret").write_text("edited by hand")
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["make_manual.py", "--check"])
    assert make_manual.main() == 1
    named = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert named == ["completions/_tezzeret", "man/tezzeret-gone.1"]
    assert (tmp_path / "completions" / "_tezzeret").read_text() == "edited by hand"
    monkeypatch.setattr(sys, "argv", ["make_manual.py"])
    assert make_manual.main() == 0
    monkeypatch.setattr(sys, "argv", ["make_manual.py", "--check"])
    assert make_manual.main() == 0


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_every_option_of_a_command_stands_in_its_page(command):
    text = shown((ROOT / "man" / f"{'-'.join(command.words)}.1").read_text())
    entries = text.split("\n.TP\n")
    assert command.options
    for parameter in (*command.options, *command.arguments):
        entry = next(entry for entry in entries if entry.startswith(f"{parameter.label}\n"))
        assert parameter.help
        assert parameter.help in " ".join(entry.split())


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_help_lists_every_option_command_and_example(command, tezzeret):
    done = tezzeret.run(*command.words[1:], "--help")
    assert done.returncode == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    for option in command.options:
        assert any(line.startswith(option.label) for line in lines), option.label
    for below in command.commands:
        assert any(line.startswith(below.words[-1]) for line in lines)
    for line in command.epilog.replace("\b", "").splitlines():
        assert line.strip() in lines


@pytest.mark.parametrize("command", COMMANDS[1:], ids=name_of)
def test_the_settings_of_a_command_are_those_that_its_options_give(command):
    source = ast.parse((ROOT / "tezzeret_cli" / "cli" / f"{command.words[-1]}.py").read_text())
    (given,) = [n.value for n in ast.walk(source) if isinstance(n, ast.keyword) and n.arg == "settings"]
    wanted = {
        ast.literal_eval(key): ast.unparse(value) for key, value in zip(given.keys, given.values, strict=True)
    }
    labels = {option.name: option.label for option in command.options}
    found = spelled_settings(command)
    assert found.keys() == wanted.keys()
    assert [name for name, option in found.items() if option not in labels[wanted[name]].split()] == []


def test_the_overview_has_all_commands_settings_and_exit_codes():
    text = shown((ROOT / "man" / "tezzeret.1").read_text())
    assert [f"{'-'.join(c.words)}(1)" in text for c in COMMANDS[1:]] == [True] * (len(COMMANDS) - 1)
    assert [n for n in Settings.__struct_fields__ if f"\nTEZZERET_{n.upper()}\n" not in text] == []
    assert [code for code in ExitCode if f"\n{code.value}\n" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_names_only_exit_codes_that_there_are(page):
    section = shown(page.read_text()).partition(".SH EXIT STATUS")[2].partition(".SH")[0]
    codes = {
        int(number) for line in section.split("\n.TP\n")[1:] for number in line.split("\n")[0].split(" or ")
    }
    assert codes <= set(ExitCode)


def warnings_of(page: Path) -> str:
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", str(page)],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "SYNOPSIS" in done.stdout, done.stderr
    return done.stderr


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_man_shows_a_page_without_a_warning(page, tmp_path):
    assert warnings_of(page) == ""
    broken = tmp_path / "broken.1"
    broken.write_text(page.read_text() + ".NOSUCHMACRO\n")
    assert "NOSUCHMACRO" in warnings_of(broken)


class Box:
    """A shell with a completion script, in a folder with a file and a folder."""

    def __init__(self, shell: str, script: Path, cwd: Path) -> None:
        self._complete = SHELLS[shell][1]
        self._script = script
        self._cwd = cwd

    def __call__(self, line: str) -> set[str]:
        found = self._complete(self._script, line, self._cwd)
        return {word.removesuffix("/") for word in found}


@pytest.fixture(params=SHELLS)
def shell(request) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "here"
    (path / "folder").mkdir(parents=True)
    (path / "blocks.json").write_text("")
    (path / "two words").write_text("")
    return path


@pytest.fixture
def complete(shell, folder) -> Box:
    return Box(shell, ROOT / "completions" / SHELLS[shell][0], folder)


def test_a_shell_completes_commands(complete):
    assert complete("tezzeret comp") == {"compile"}
    assert complete("tezzeret ") >= {c.words[1] for c in COMMANDS if len(c.words) == 2}


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_a_shell_completes_every_option(complete, command):
    wanted = {s for option in command.options for s in option.spellings if s.startswith("--")}
    assert wanted <= complete(f"{' '.join(command.words)} --")


def test_a_shell_completes_the_names_of_options(complete):
    assert complete("tezzeret compile --str") == {"--strategy", "--strict"}
    assert complete("tezzeret compile blocks.json --jobs 2 --dr") == {"--dry-run"}


def test_a_shell_completes_the_values_that_there_are(complete):
    assert complete("tezzeret compile --strategy ") == {*STRATEGIES, "auto"}
    assert complete("tezzeret compile --device c") == {"cpu", "cuda"}
    assert complete("tezzeret compile --tier ") == {t.lower().replace("_", "-") for t in Tier}
    assert complete("tezzeret compile --tier=hi") == {"high-risk"}
    assert complete("tezzeret compile --jobs ") == set()


def test_a_shell_completes_files_for_paths_and_folders_for_a_store(complete):
    assert complete("tezzeret compile ") >= {"folder", "blocks.json"}
    assert complete("tezzeret compile blocks.json fol") == {"folder"}
    assert "blocks.json" in complete("tezzeret compile --profile ")
    assert complete("tezzeret compile --store ") == {"folder"}
    assert complete("tezzeret compile --store=f") == {"folder"}
    assert complete("tezzeret compile --store=") == {"folder"}


def test_a_value_like_a_commands_name_is_a_value(complete):
    assert complete("tezzeret compile --store compile --dev") == {"--device"}


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "deep blue"


def further_app() -> typer.Typer:
    """A command line with what the real one has not yet."""
    one = typer.Typer(help="Compile.", rich_markup_mode=None)
    store = typer.Typer(help="Look after a store.", rich_markup_mode=None)
    one.add_typer(store, name="store")

    @store.command("verify-all")
    def verify_all(
        root: Annotated[Path, typer.Argument(file_okay=False, help="The store's root.")],
        bundle: Annotated[Path, typer.Argument(help="A bundle: one of [many], it's \\here.")],
        colour: Annotated[Colour, typer.Option("--colour", "-c", help='Its "colour" (`ls`, $HOME).')],
        deep: Annotated[bool, typer.Option(help="Read all of it, à fond.")] = True,
    ) -> None:
        """Verify what is there.

        .dots at the start, and 'quotes'.
        """

    @one.command(hidden=True)
    def secret() -> None:
        """Not for everybody."""

    return one


def test_a_further_command_has_its_page(tmp_path):
    files = make_manual.files(further_app())
    pages = {name for name in files if name.startswith("man/")}
    assert pages == {"man/tezzeret.1", "man/tezzeret-store.1", "man/tezzeret-store-verify-all.1"}
    page = files["man/tezzeret-store-verify-all.1"]
    assert "--deep / --no-deep" in shown(page)
    assert "A bundle: one of [many], it's \\here." in shown(page)
    assert "\\[u00E0] fond" in page
    assert "secret" not in "".join(files.values())
    assert files == make_manual.files(further_app())
    if shutil.which("man") is None:
        pytest.skip("the pages are right as text; man is not installed to show them")
    for name in pages:
        path = tmp_path / Path(name).name
        path.write_text(files[name])
        assert warnings_of(path) == ""


def test_a_further_command_is_completed(shell, folder, tmp_path):
    script = tmp_path / "completions" / SHELLS[shell][0]
    script.parent.mkdir()
    script.write_text(make_manual.files(further_app())[f"completions/{script.name}"])
    complete = Box(shell, script, folder)
    assert complete("tezzeret st") == {"store"}
    assert complete("tezzeret store ver") == {"verify-all"}
    assert complete("tezzeret store verify-all --no-d") == {"--no-deep"}
    assert complete("tezzeret store verify-all -c r") == {"red"}
    quoted = complete("tezzeret store verify-all --colour de")
    assert {word.replace("\\", "") for word in quoted} == {"deep blue"}
    assert complete("tezzeret store verify-all ") == {"folder"}
    assert "blocks.json" in complete("tezzeret store verify-all folder ")


def test_the_wheel_installs_pages_and_completions_where_they_are_looked_for(tmp_path):
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    installed = {
        f"{folder}/{path.name}": path.read_text()
        for folder, globs in data.items()
        for glob in globs
        for path in ROOT.glob(glob)
    }
    files = make_manual.files(app)
    assert installed == {
        **{f"share/man/man1/{path.name}": files[f"man/{path.name}"] for path in PAGES},
        "share/bash-completion/completions/tezzeret": files["completions/tezzeret.bash"],
        "share/zsh/site-functions/_tezzeret": files["completions/_tezzeret"],
        "share/fish/vendor_completions.d/tezzeret.fish": files["completions/tezzeret.fish"],
    }


def test_every_setting_has_a_description():
    for field in msgspec.inspect.type_info(Settings).fields:
        assert field.type.extra_json_schema["description"].endswith(".")
