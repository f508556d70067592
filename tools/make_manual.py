"""Write man/, completions/ and docs/reference/ from what defines them; ``--check`` only compares.

The Typer app says what there is to say of commands and options, ``errors.py`` of exit codes, and
``settings.py`` of variables, so that a new command gets its page and its completion by being there.
"""

from __future__ import annotations

import sys
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec
import typer
from command_line import Command, Parameter, read_app
from help_text import block, codes, paragraphs
from reference import reference, spelled_settings
from shells import bash, fish, zsh

from tezzeret_cli import __version__
from tezzeret_cli.cli.main import app
from tezzeret_cli.errors import MEANING
from tezzeret_cli.settings import CONFIG_VARIABLE, PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
NAME = "tezzeret"

ABOUT = """\
Compiles blueprints, forward and backward, into bundles below a store directory. A program loads a bundle \
with tezzeret_cli.load, trains with it, and needs no compiler.

A blueprint is compiled again only when something changed that decides its content. A compiled bundle is \
published only when a fresh process without a compiler has loaded it and agreed with eager PyTorch, forward \
and backward. What does not get there ships as a bundle that runs eager and says why."""

FILES = {
    "$XDG_CONFIG_HOME/tezzeret/config.toml": "Settings: one NAME = VALUE for each, in TOML, with the names "
    f"of the variables in lower case and without {PREFIX}. Variables and options go before it.",
    "$XDG_CACHE_HOME/tezzeret": "Compiled headers and scratch. It may be deleted at any time.",
}


def main() -> int:
    """Write what differs, or with ``--check`` name it and return 1."""
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.stderr.write("usage: make_manual.py [--check]\n")
        return 2
    wanted = files(app)
    present = {path.relative_to(ROOT).as_posix() for path in (ROOT / "man").glob("*.1")}
    stale = sorted(present - wanted.keys())
    differing = [name for name, text in sorted(wanted.items()) if _read(ROOT / name) != text]
    for name in [*differing, *stale]:
        print(f"{name}: {'not what the command line says' if check else 'written'}")
    if check:
        return 1 if differing or stale else 0
    for name in differing:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(wanted[name], encoding="utf-8")
    for name in stale:
        (ROOT / name).unlink()
    return 0


def files(app: typer.Typer, name: str = NAME) -> dict[str, str]:
    """All files by their path below the repository."""
    root = read_app(app, name)
    pages = {f"man/{'-'.join(command.words)}.1": page(command, root) for command in root.every()}
    return pages | {
        f"completions/{name}.bash": bash(root),
        f"completions/_{name}": zsh(root),
        f"completions/{name}.fish": fish(root),
        **reference(root),
    }


def page(command: Command, root: Command) -> str:
    """The manual page of one command; the first one also says what holds for all."""
    title = "-".join(command.words)
    summary = command.summary.rstrip(".")
    lines = [
        ".\\\" Made by tools/make_manual.py from the command line's definition; changes here are lost.",
        f'.TH {_roff(title.upper())} 1 "" "{_roff(f"{root.words[0]} {__version__}")}" "User Commands"',
        ".SH NAME",
        f"{_roff(title)} \\- {_roff(summary[:1].lower() + summary[1:])}",
        ".SH SYNOPSIS",
        f"{_bold(' '.join(command.words))} {_roff(command.usage)}",
        ".SH DESCRIPTION",
        *_description(command, root),
        *_parameters("ARGUMENTS", command.arguments),
        *_parameters("OPTIONS", command.options),
        *_commands(command),
        *_exit_status(command, root),
        *_environment(command, root),
        *(_entries("FILES", FILES) if command is root else ()),
        *_examples(command),
        ".SH SEE ALSO",
        *_see_also(command, root),
    ]
    return "\n".join(lines) + "\n"


def _description(command: Command, root: Command) -> Iterator[str]:
    texts = [text for text in paragraphs(command.help) if not codes(text)]
    if command is root:
        texts += paragraphs(ABOUT)
    texts += [text for text in paragraphs(command.epilog) if block(text) is None]
    for number, text in enumerate(texts):
        if number:
            yield ".PP"
        yield from _text(text)


def _parameters(title: str, parameters: tuple[Parameter, ...]) -> Iterator[str]:
    if parameters:
        yield f".SH {title}"
    for parameter in parameters:
        yield from (".TP", _label(parameter), *_text(parameter.help))


def _label(parameter: Parameter) -> str:
    names = parameter.label.removesuffix(parameter.metavar).rstrip()
    metavar = f"\\fI{_roff(parameter.metavar)}\\fR" if parameter.metavar else ""
    return " ".join(filter(None, (_bold(names) if names else "", metavar)))


def _commands(command: Command) -> Iterator[str]:
    if command.commands:
        yield ".SH COMMANDS"
    for below in command.commands:
        yield from (".TP", f"{_bold('-'.join(below.words))}(1)", *_text(below.summary))


def _exit_status(command: Command, root: Command) -> Iterator[str]:
    if command is root:
        yield from _entries("EXIT STATUS", {str(int(code)): text for code, text in MEANING.items()})
        return
    own = next(filter(None, map(codes, paragraphs(command.help))), {})
    if own:
        yield from _entries("EXIT STATUS", own)
    else:
        yield from (".SH EXIT STATUS", f"See {_bold(root.words[0])}(1).")


def _environment(command: Command, root: Command) -> Iterator[str]:
    hints = typing.get_type_hints(Settings, include_extras=True)
    spelled = spelled_settings(command)
    entries = {}
    for field in msgspec.structs.fields(Settings):
        meta = next(m for m in hints[field.name].__metadata__ if isinstance(m, msgspec.Meta))
        option = spelled.get(field.name)
        if command is root:
            default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default or "")
            entries[PREFIX + field.name.upper()] = (
                f"{meta.description}{f' [default: {default}]' if default else ''}"
            )
        elif option:
            entries[PREFIX + field.name.upper()] = f"What {option} says, where that option is not given."
    if command is root:
        entries[CONFIG_VARIABLE] = "The settings file, instead of the one below."
    if entries:
        yield from _entries("ENVIRONMENT", entries)
    if entries and command is not root:
        yield from (".PP", "Further settings, and the settings file, are described in")
        yield f"{_bold(root.words[0])}(1)."


def _examples(command: Command) -> Iterator[str]:
    for title, body in filter(None, map(block, paragraphs(command.epilog))):
        yield from (f".SH {_roff(title.upper())}", ".nf")
        yield from (_protected(_roff(line)) for line in body)
        yield ".fi"


def _see_also(command: Command, root: Command) -> Iterator[str]:
    parent = [each for each in root.every() if command in each.commands]
    pages = [f"{_bold('-'.join(each.words))}(1)" for each in (*parent, *command.commands)]
    yield ",\n".join(pages or [f"{_bold(root.words[0])}(1)"])


def _entries(title: str, entries: dict[str, str]) -> Iterator[str]:
    yield f".SH {title}"
    for name, text in entries.items():
        yield from (".TP", _bold(name), *_text(text))


def _text(text: str) -> list[str]:
    flowing = " ".join(text.replace("\b", " ").split())
    wrapped = textwrap.wrap(flowing, 100, break_long_words=False, break_on_hyphens=False)
    return [_protected(_roff(line)) for line in wrapped]


def _bold(text: str) -> str:
    return f"\\fB{_roff(text)}\\fR"


def _roff(text: str) -> str:
    """Signs that roff would take for its own, or print as another sign than a terminal's."""
    signs = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", '"': "\\(dq"}
    return "".join(signs.get(c, c if c.isascii() else f"\\[u{ord(c):04X}]") for c in text)


def _protected(line: str) -> str:
    return f"\\&{line}" if line.startswith(".") else line


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
