"""Walk the published bundles of a store: ``bundles/<blueprint id>/<version>/``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tezzeret_cli.bundle.read import MANIFEST
from tezzeret_cli.bundle.version import Version, parse

BUNDLES = "bundles"


class Published(msgspec.Struct, frozen=True):
    """A directory that looks like a bundle; nothing in it has been checked."""

    blueprint_id: str
    version: Version
    path: Path


def published(store: Path, blueprint_id: str | None = None) -> Iterator[Published]:
    """Every bundle directory, optionally of one blueprint only; what does not look like one is passed
    over. A store that vanishes meanwhile ends the walk."""
    root = store / BUNDLES
    names = [blueprint_id] if blueprint_id is not None else sorted(_folders(root))
    for name in names:
        for text in sorted(_folders(root / name)):
            version = parse(text)
            path = root / name / text
            if version is not None and (path / MANIFEST).is_file():
                yield Published(name, version, path)


def _folders(path: Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
