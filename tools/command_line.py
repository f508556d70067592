"""The command line as plain data, read from the Typer app: manual and completions are made of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import typer
from typer.main import get_command

PathKind = Literal["", "file", "directory"]

PATHS: dict[str, PathKind] = {
    "dir": "directory",
    "directory": "directory",
    "file": "file",
    "filename": "file",
    "path": "file",
}
"""What a value's metavar (``DIR``) or type (``<dir>``) says of it. A path to a file goes through folders."""


@dataclass(frozen=True)
class Parameter:
    """An option or an argument. ``label`` is its name as ``--help`` shows it; an option without
    ``metavar`` is a flag. ``values`` are all that there are, or none if that cannot be known."""

    name: str
    spellings: tuple[str, ...]
    label: str
    help: str
    metavar: str
    values: tuple[str, ...] = ()
    path: PathKind = ""
    repeatable: bool = False
    count: int = 1


@dataclass(frozen=True)
class Command:
    """One command with what is below it. ``words`` call it: ``("tezzeret", "compile")``."""

    words: tuple[str, ...]
    usage: str
    summary: str
    help: str
    epilog: str
    options: tuple[Parameter, ...]
    arguments: tuple[Parameter, ...]
    commands: tuple[Command, ...]

    def every(self) -> Iterator[Command]:
        """This command and all below it."""
        yield self
        for command in self.commands:
            yield from command.every()


def read_app(app: typer.Typer, name: str) -> Command:
    """The app's commands, without what is hidden."""
    return _command(get_command(app), (name,), None)


def _command(command: Any, words: tuple[str, ...], parent: Any) -> Command:
    context = typer.Context(command, info_name=words[-1], parent=parent, **command.context_settings)
    shown = [p for p in command.get_params(context) if not getattr(p, "hidden", False)]
    below = [
        (each, command.get_command(context, each))
        for each in (command.list_commands(context) if hasattr(command, "list_commands") else ())
    ]
    return Command(
        words=words,
        usage=" ".join(command.collect_usage_pieces(context)),
        summary=command.get_short_help_str(limit=1000),
        help=inspect.cleandoc(command.help or ""),
        epilog=inspect.cleandoc(command.epilog or ""),
        options=tuple(_option(p, context) for p in shown if p.param_type_name == "option"),
        arguments=tuple(_argument(p, context) for p in shown if p.param_type_name == "argument"),
        commands=tuple(_command(each, (*words, word), context) for word, each in below if not each.hidden),
    )


def _option(parameter: Any, context: typer.Context) -> Parameter:
    label, text = parameter.get_help_record(context)
    flag = parameter.is_flag or parameter.count
    words = label.split()
    while words and (words[0].startswith("-") or words[0] == "/"):
        words.pop(0)
    metavar = "" if flag else " ".join(words)
    return Parameter(
        name=parameter.name,
        spellings=tuple(sorted((*parameter.opts, *parameter.secondary_opts), key=_long_first)),
        label=label,
        help=text,
        metavar=metavar,
        values=() if flag else _values(parameter, context),
        path=_path(metavar) or _path_of_type(parameter),
        repeatable=parameter.multiple or parameter.count,
    )


def _argument(parameter: Any, context: typer.Context) -> Parameter:
    label, text = parameter.get_help_record(context)
    metavar, _, kind = label.partition(" <")
    return Parameter(
        name=parameter.name,
        spellings=(),
        label=metavar,
        help=text,
        metavar=metavar,
        values=_values(parameter, context),
        path=_path(metavar) or _path(kind) or _path_of_type(parameter),
        repeatable=parameter.nargs == -1,
        count=max(1, parameter.nargs),
    )


def _values(parameter: Any, context: typer.Context) -> tuple[str, ...]:
    return tuple(item.value for item in parameter.shell_complete(context, "") if item.value)


def _long_first(spelling: str) -> tuple[bool, str]:
    """An order that is the same in every run: those of ``--help`` come out of a set."""
    return not spelling.startswith("--"), spelling


def _path(metavar: str) -> PathKind:
    return PATHS.get(metavar.strip("<>[].").lower(), "")


def _path_of_type(parameter: Any) -> PathKind:
    """What a parameter's own type says of it, where Typer keeps one."""
    kind = getattr(parameter, "type", None)
    if getattr(kind, "name", "") not in ("path", "file", "directory"):
        return ""
    return "file" if getattr(kind, "file_okay", True) else "directory"
