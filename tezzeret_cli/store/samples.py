"""Timings of published bundles: ``samples/<blueprint id>/<version>.jsonl``, one measurement a line.

Bundles are immutable, so what is measured later is kept beside them.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tezzeret_cli.files import sync_folder, write_whole
from tezzeret_cli.model.prewarm import Sample
from tezzeret_cli.store.layout import TMP, explained, store_lock

SAMPLES = "samples"
SUFFIX = ".jsonl"
LOCK = "samples.lock"
DRAFT = "samples.draft"


def append(root: Path, blueprint_id: str, version: str, sample: Sample) -> None:
    """Add one measurement to a bundle's, durably, unless it is there. Readers see whole files.

    Raises ``StoreError``, and ``StoreLockedError`` when another process adds one for too long.
    """
    path = path_of(root, blueprint_id, version)
    lock = store_lock(root, LOCK)
    try:
        with explained(root):
            path.parent.mkdir(parents=True, exist_ok=True)
            if sample not in read(root, blueprint_id, version):
                before = path.read_bytes() if path.exists() else b""
                ended = b"\n" if before and not before.endswith(b"\n") else b""
                line = msgspec.json.encode(sample) + b"\n"
                write_whole(path, before + ended + line, draft=root / TMP / DRAFT)
            for folder in (path.parent, path.parent.parent, root):
                sync_folder(folder)
    finally:
        lock.release()


def read(root: Path, blueprint_id: str, version: str) -> list[Sample]:
    """The measurements of a bundle, oldest first. A line that does not decode is passed over: an earlier
    version's process died while it wrote it. Raises ``StoreError``."""
    found = []
    with explained(root):
        try:
            lines = path_of(root, blueprint_id, version).read_bytes().splitlines()
        except FileNotFoundError:
            return []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=Sample))
        except msgspec.DecodeError:
            continue
    return found


def path_of(root: Path, blueprint_id: str, version: str) -> Path:
    return root / SAMPLES / blueprint_id / f"{version}{SUFFIX}"
