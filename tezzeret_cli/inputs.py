"""Read descriptors from files, folders and standard input, and choose among them.

Every fault is an ``InputError`` of one line that names the file, the field and the remedy.
"""

from __future__ import annotations

import fnmatch
import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
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
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
STDIN = "-"


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
    """All descriptors in ``paths`` by id: files, folders (searched for ``.json``, ``.pb``, ``.binpb``),
    ``-`` for standard input. Without paths, the built-in catalogue.

    The same descriptor in two files counts once. Raises ``InputError``.
    """
    if not paths:
        return builtin_catalogue()
    found: list[Sourced] = []
    for path in paths:
        if path == STDIN:
            found += _parse("standard input", stdin.read(SIZE_LIMIT + 1))
        else:
            found += [item for file in _files(Path(path)) for item in _read_file(file)]
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


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder", advice="check the path")
    if not path.is_dir():
        return [path]
    files = [
        Path(folder) / name for folder, _, names in os.walk(path) for name in names if name.endswith(SUFFIXES)
    ]
    if not files:
        raise InputError(
            f"{path}: no descriptor in this folder", advice=f"expected {', '.join(SUFFIXES)} files"
        )
    return sorted(files)


def _read_file(path: Path) -> list[Sourced]:
    try:
        if not path.is_file():
            raise InputError(f"{path}: not a regular file", advice="give a file, a folder or - for stdin")
        size = path.stat().st_size
        if size > SIZE_LIMIT:
            raise InputError(
                f"{path}: {size >> 20} MiB is too large for descriptors",
                advice=f"the limit is {SIZE_LIMIT >> 20} MiB a file; split it",
            )
        return _parse(str(path), path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", advice="check its permissions") from error


def _parse(source: str, data: bytes) -> list[Sourced]:
    if len(data) > SIZE_LIMIT:
        raise InputError(f"{source}: more than {SIZE_LIMIT >> 20} MiB", advice="split it")
    if not data.strip():
        raise InputError(f"{source}: empty", advice="expected a Leyline descriptor")
    looks_binary = source.endswith((".pb", ".binpb")) or (
        not source.endswith(".json") and data.lstrip()[:1] not in (b"{", b"[")
    )
    try:
        found = from_binary(data) if looks_binary else [from_json(value) for value in _json_objects(data)]
    except MalformedDescriptorError as error:
        raise InputError(f"{source}: {error}", advice="see the descriptor's fields in the README") from error
    for descriptor in found:
        _check(source, descriptor)
    return [Sourced(descriptor, source) for descriptor in found]


def _json_objects(data: bytes) -> list[dict[str, Any]]:
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except UnicodeDecodeError as error:
        raise MalformedDescriptorError(f"not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise MalformedDescriptorError(
            f"malformed JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except RecursionError as error:
        raise MalformedDescriptorError("nested too deeply") from error
    objects = value if isinstance(value, list) else [value]
    if not objects:
        raise MalformedDescriptorError("an empty array")
    for number, item in enumerate(objects):
        if not isinstance(item, dict):
            where = f"item {number}: " if isinstance(value, list) else ""
            raise MalformedDescriptorError(f"{where}expected an object, found {type(item).__name__}")
    return objects


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
