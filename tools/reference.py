"""Pages of docs/reference/ from what defines them: the Typer app, errors, settings, structs."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
from command_line import Command, Parameter
from help_text import block, codes, paragraphs

from tezzeret_cli.errors import MEANING
from tezzeret_cli.model.manifest import Manifest
from tezzeret_cli.model.telemetry import Entry
from tezzeret_cli.settings import CONFIG_VARIABLE, PREFIX, SECRET_VARIABLE, Settings

MADE = "<!-- Made by tools/make_manual.py; changes here are lost. -->"

OTHERWISE = {
    ("prewarm", "device"): None,
    ("prewarm", "jobs"): None,
    ("prewarm", "key"): None,
    ("prewarm", "repeat"): "prewarm_repeat",
    ("verify", "key"): None,
}
"""Options that give another setting than that of their name, or none."""


def reference(root: Command) -> dict[str, str]:
    """The pages by their path below the repository."""
    pages = {
        "cli": _commands(root),
        "settings": _settings(root),
        "manifest": _structs(Manifest, "manifest.json", "manifest", "../format/bundle.md"),
        "telemetry": _structs(Entry, "a line of the telemetry", "telemetry", "../telemetry.md"),
    }
    return {f"docs/reference/{name}.md": "\n".join((MADE, "", *page)) + "\n" for name, page in pages.items()}


def spelled_settings(command: Command) -> dict[str, str]:
    """The option that gives each setting for this command."""
    found = {}
    for option in command.options:
        own = (command.words[-1], option.name)
        for setting in (OTHERWISE[own],) if own in OTHERWISE else (option.name, f"{option.name}_s"):
            if setting in Settings.__struct_fields__:
                found[setting] = option.label.split()[-1 - bool(option.metavar)]
    return found


def _commands(root: Command) -> Iterator[str]:
    yield "# Commands"
    yield ""
    yield "What `--help` and the man pages in [man/](../../man) say, too. Options go before variables and the"
    yield "settings file: [settings](settings.md)."
    for command in root.every():
        yield from ("", f"## {' '.join(command.words)}")
        for text in paragraphs(command.help):
            if not codes(text):
                yield from ("", _flowing(text))
        yield from ("", "```text", f"{' '.join(command.words)} {command.usage}", "```")
        yield from _parameters("argument", command.arguments)
        yield from _parameters("option", command.options)
        own = next(filter(None, map(codes, paragraphs(command.help))), {})
        yield from _table(("exit code", ""), own.items())
        for title, lines in filter(None, map(block, paragraphs(command.epilog))):
            yield from ("", f"{title}:", "", "```text", *lines, "```")
    yield from ("", "## Exit codes")
    yield from _table(("exit code", ""), ((str(int(code)), text) for code, text in MEANING.items()))


def _parameters(kind: str, parameters: tuple[Parameter, ...]) -> Iterator[str]:
    yield from _table((kind, ""), ((f"`{each.label}`", each.help) for each in parameters))


def _settings(root: Command) -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "An option goes before a variable, a variable before the settings file, that before the default."
    yield "The file is `tezzeret/config.toml` in `$XDG_CONFIG_HOME` or, where that is not set, in"
    yield f"`~/.config`; `{CONFIG_VARIABLE}` names another one. An unknown name in it is an error."
    yield from ("", "```toml", 'store = "/srv/store"', "jobs = 2", 'memory = "6GiB"', "```")
    yield from _table(("in the file", "variable", "option", "value", "default", ""), _rows(root))
    yield from (
        "",
        "Sizes are written like `8GiB`, `512M`, or as a number of bytes. An empty variable does not count.",
    )
    yield from ("", "Variables only:")
    yield from _table(
        ("variable", ""),
        (
            (f"`{PREFIX}KEY_PASSPHRASE`", "What opens the signing key, and protects one that is made."),
            (f"`{SECRET_VARIABLE}`", "What messages to Oona are signed with."),
            ("`CI`", "Where it is set, no signing key is made."),
            (
                "`XDG_CONFIG_HOME`, `XDG_CACHE_HOME`, `XDG_STATE_HOME`",
                "Base folders, as in the XDG specification.",
            ),
        ),
    )


def _rows(root: Command) -> Iterator[tuple[str, ...]]:
    hints = typing.get_type_hints(Settings, include_extras=True)
    options: dict[str, dict[str, list[str]]] = {}
    for command in root.commands:
        for name, option in spelled_settings(command).items():
            options.setdefault(name, {}).setdefault(option, []).append(command.words[-1])
    for field in msgspec.structs.fields(Settings):
        hint = hints[field.name]
        meta = next(m for m in hint.__metadata__ if isinstance(m, msgspec.Meta))
        given = (f"`{option}`: {', '.join(words)}" for option, words in options.get(field.name, {}).items())
        default = field.default
        if isinstance(default, float):
            default = f"{default:g}" if default < 1e6 else f"{default:.0f}"
        yield (
            f"`{field.name}`",
            f"`{PREFIX}{field.name.upper()}`",
            "; ".join(given),
            _kind(field.name, hint.__origin__),
            f"`{str(default).lower() if isinstance(default, bool) else default}`"
            if default not in (None, "")
            else "",
            str(meta.description),
        )


def _kind(name: str, hint: Any) -> str:
    kinds = {kind for kind in (*typing.get_args(hint), hint) if kind in (bool, int, float, str)}
    if name.endswith("memory") or name == "telemetry":
        return "size"
    if name.endswith("_s"):
        return "seconds"
    return {bool: "true or false", int: "number", str: "text"}[kinds.pop()]


def _structs(root: type[msgspec.Struct], title: str, schema: str, prose: str) -> Iterator[str]:
    """A section for each struct that the first one holds, at any depth."""
    yield f"# The fields of {title}"
    yield ""
    yield f"What they are for is told in [prose]({prose}); programs read the"
    yield f"[JSON Schema](../schema/{schema}.schema.json)."
    waiting, seen = [root], set()
    while waiting:
        struct = waiting.pop(0)
        if struct in seen:
            continue
        seen.add(struct)
        hints = typing.get_type_hints(struct)
        yield from ("", f"## {struct.__name__}")
        if struct.__doc__ and not struct.__doc__.startswith(f"{struct.__name__}("):
            yield from ("", _flowing(inspect.cleandoc(struct.__doc__)).replace("``", "`"))
        if issubclass(struct, msgspec.Struct):
            rows = ((f"`{field.name}`", _type(hints[field.name])) for field in msgspec.structs.fields(struct))
            yield from _table(("field", "type"), rows)
            waiting += [each for hint in hints.values() for each in _own(hint)]
        else:
            yield from ("", ", ".join(f"`{member.value}`" for member in struct))


def _own(hint: Any) -> list[Any]:
    """The structs and enumerations of this project in a type."""
    if isinstance(hint, type) and hint.__module__.startswith("tezzeret_cli."):
        return [hint]
    return [each for part in typing.get_args(hint) for each in _own(part)]


def _type(hint: Any) -> str:
    """A type in the words of JSON."""
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}
    if hint in names:
        return names[hint]
    if _own(hint) == [hint]:
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    parts = [part for part in typing.get_args(hint) if part is not Ellipsis]
    match typing.get_origin(hint):
        case kind if kind in (tuple, list):
            return f"list of {_type(parts[0])}"
        case kind if kind is dict:
            return f"object of {_type(parts[1])} by {_type(parts[0])}"
    return " or ".join(_type(part) for part in parts)


def _flowing(text: str) -> str:
    return " ".join(text.replace("\b", " ").split())


def _table(head: tuple[str, ...], rows: Any) -> Iterator[str]:
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    if lines:
        yield from ("", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines)
