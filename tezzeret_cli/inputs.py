"""Read descriptors from files, folders and standard input, and choose among them.

Every fault is an ``InputError`` of one line that names the file, the field and the remedy.
"""

from __future__ import annotations

import codecs
import fnmatch
import json
import math
import os
import re
import stat
from collections.abc import Sequence
from typing import Any, BinaryIO

import msgspec

from tezzeret_cli.errors import InputError
from tezzeret_cli.leyline.descriptors import (
    MalformedDescriptorError,
    builtin_catalogue,
    from_binary,
    from_json,
)
from tezzeret_cli.model.descriptor import Descriptor, Tier

SIZE_LIMIT = 16 << 20
"""No descriptor file is larger than this many bytes; a bigger one is refused unread."""

SUFFIXES = (".json", ".pb", ".binpb")
STDIN = "-"
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class Sourced(msgspec.Struct, frozen=True):
    """A descriptor and where it was read."""

    descriptor: Descriptor
    source: str


class Selection(msgspec.Struct, frozen=True):
    """Which descriptors to keep: any of the globs over id or name, and the tier, and the stage."""

    globs: tuple[str, ...] = ()
    tier: str | None = None
    stage: int | None = None


def read_descriptors(paths: Sequence[str], *, stdin: BinaryIO) -> list[Descriptor]:
    """All descriptors in ``paths`` by id: files, folders (searched for ``.json``, ``.pb``, ``.binpb``;
    linked folders are not entered), ``-`` for standard input. Without paths, the built-in catalogue.

    A file that is named twice is read once, and the same descriptor in two files counts once. Raises
    ``InputError``.
    """
    if not paths:
        return builtin_catalogue()
    found: list[Sourced] = []
    seen: set[str] = set()
    for path in paths:
        for file in [path] if path == STDIN else _files(path):
            identity = STDIN if path == STDIN else os.path.realpath(file)
            if identity not in seen:
                seen.add(identity)
                found += _read_stream(stdin) if path == STDIN else _read_file(file)
    unique: dict[str, Sourced] = {}
    for item in found:
        known = unique.setdefault(item.descriptor.blueprint_id, item)
        if known.descriptor != item.descriptor:
            raise InputError(
                f"{item.source}: blueprint_id: {item.descriptor.blueprint_id} is already described "
                f"differently in {known.source}",
                advice="give each blueprint its own id",
            )
        if known is not item and known.source == item.source:
            raise InputError(
                f"{item.source}: blueprint_id: {item.descriptor.blueprint_id} stands there twice",
                advice="remove one",
            )
    return [unique[key].descriptor for key in sorted(unique)]


def select(descriptors: Sequence[Descriptor], selection: Selection) -> list[Descriptor]:
    """The descriptors that a selection keeps. Raises ``InputError`` when a glob matches none, the tier
    is unknown, or nothing is left."""
    tier = _tier(selection.tier) if selection.tier is not None else None
    for glob in selection.globs:
        if not any(matches(descriptor, glob) for descriptor in descriptors):
            raise InputError(
                f"--select {glob}: no blueprint has such an id or name",
                advice="list them with --dry-run and without --select",
            )
    kept = [
        descriptor
        for descriptor in descriptors
        if (not selection.globs or any(matches(descriptor, glob) for glob in selection.globs))
        and tier in (None, descriptor.tier)
        and selection.stage in (None, descriptor.stage)
    ]
    if not kept:
        raise InputError("no blueprint is left after --select, --tier and --stage", advice="loosen them")
    return kept


def matches(descriptor: Descriptor, glob: str) -> bool:
    """Whether a glob fits the id or the name."""
    return any(fnmatch.fnmatchcase(text, glob) for text in (descriptor.blueprint_id, descriptor.name))


def _tier(text: str) -> Tier:
    try:
        return Tier(text.upper().removeprefix("BLUEPRINT_TIER_").replace("-", "_"))
    except ValueError:
        known = ", ".join(tier.value for tier in Tier)
        raise InputError(f"--tier {text}: unknown tier", advice=f"use one of {known}") from None


def _files(path: str) -> list[str]:
    """``path`` itself, or the descriptor files below it."""
    try:
        if not os.path.lexists(path):
            raise InputError(f"{path}: no such file or folder", advice="check the path")
        if not os.path.isdir(path):
            return [path]
        files = [
            os.path.join(folder, name)
            for folder, _, names in os.walk(path, onerror=_raise)
            for name in names
            if name.endswith(SUFFIXES)
        ]
    except OSError as error:
        raise _unreadable(path, error) from error
    if not files:
        raise InputError(
            f"{path}: no descriptor in this folder", advice=f"expected {', '.join(SUFFIXES)} files"
        )
    return sorted(files)


def _raise(error: OSError) -> None:
    raise error


def _unreadable(path: str, error: OSError) -> InputError:
    return InputError(f"{error.filename or path}: {error.strerror}", advice="check the path and permissions")


def _read_file(path: str) -> list[Sourced]:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: not a regular file", advice="give a file, a folder or - for stdin")
        if status.st_size > SIZE_LIMIT:
            raise _too_large(path)
        with open(path, "rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    return _parse(path, data)


def _read_stream(stream: BinaryIO) -> list[Sourced]:
    try:
        data = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise InputError(f"standard input: {error.strerror}", advice="give a file instead") from error
    return _parse("standard input", data)


def _too_large(source: str) -> InputError:
    limit = f"{SIZE_LIMIT >> 20} MiB"
    return InputError(
        f"{source}: too large for descriptors", advice=f"the limit is {limit} for one file; split it"
    )


def _is_binary(source: str, data: bytes) -> bool:
    """By the suffix, or by the content: JSON text begins with a bracket and holds no control characters,
    while every binary descriptor has the tag 0x12 of its name."""
    if source.endswith((".pb", ".binpb")):
        return True
    if source.endswith(".json"):
        return False
    return data.lstrip()[:1] not in (b"{", b"[") or _CONTROL.search(data) is not None


def _parse(source: str, data: bytes) -> list[Sourced]:
    if len(data) > SIZE_LIMIT:
        raise _too_large(source)
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        raise InputError(f"{source}: empty", advice="expected a Leyline descriptor")
    try:
        found = from_binary(data) if _is_binary(source, data) else _from_text(data)
    except MalformedDescriptorError as error:
        raise InputError(f"{source}: {error}", advice="see docs/reference/inputs.md") from error
    for descriptor in found:
        _check(source, descriptor)
    return [Sourced(descriptor, source) for descriptor in found]


def _from_text(data: bytes) -> list[Descriptor]:
    value = _load_json(data)
    if not isinstance(value, list):
        return [_from_value(value)]
    if not value:
        raise MalformedDescriptorError("an empty array")
    found = []
    for number, item in enumerate(value):
        try:
            found.append(_from_value(item))
        except MalformedDescriptorError as error:
            raise MalformedDescriptorError(f"item {number}: {error}") from error
    return found


def _from_value(value: Any) -> Descriptor:
    if not isinstance(value, dict):
        raise MalformedDescriptorError(f"expected an object, found {type(value).__name__}")
    return from_json(value)


def _load_json(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except UnicodeDecodeError as error:
        raise MalformedDescriptorError(f"not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise MalformedDescriptorError(
            f"malformed JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except RecursionError as error:
        raise MalformedDescriptorError("nested too deeply") from error
    except MalformedDescriptorError:
        raise
    except ValueError as error:
        raise MalformedDescriptorError("a number with thousands of digits") from error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise MalformedDescriptorError(f"{key}: the key stands there twice")
        found[key] = value
    return found


def _check(source: str, descriptor: Descriptor) -> None:
    blueprint_id = descriptor.blueprint_id
    if not _ID.fullmatch(blueprint_id):
        raise InputError(
            f"{source}: blueprint_id: {blueprint_id[:60]!r} cannot name a folder",
            advice="use 1 to 128 letters, digits, '.', '_' and '-', not starting with a dot",
        )
    if not descriptor.name.strip():
        raise InputError(f"{source}: name: {blueprint_id} has none", advice="name the blueprint")
    if not math.isfinite(descriptor.risk):
        raise InputError(
            f"{source}: risk: {descriptor.risk} of {blueprint_id}", advice="give a finite number"
        )
    for name, bounds in descriptor.allowed_parameters.items():
        where = f"{source}: allowed_parameters.{name} of {blueprint_id}"
        if not math.isfinite(bounds.min_value) or not math.isfinite(bounds.max_value):
            raise InputError(f"{where}: bounds are not finite", advice="give two finite numbers")
        if bounds.min_value > bounds.max_value:
            raise InputError(
                f"{where}: min_value {bounds.min_value:g} is above max_value {bounds.max_value:g}",
                advice="swap them",
            )
