"""Timings of published bundles: ``samples/<blueprint id>/<version>.jsonl``, one measurement a line.

Bundles are immutable, so what is measured later is kept beside them.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from tezzeret_cli.model.prewarm import Sample
from tezzeret_cli.store.layout import explained

SAMPLES = "samples"
SUFFIX = ".jsonl"


def append(root: Path, blueprint_id: str, version: str, sample: Sample) -> None:
    """Add one measurement to a bundle's. One write, so that readers see whole lines; a torn line of a killed
    process is closed first. Raises ``StoreError``."""
    path = path_of(root, blueprint_id, version)
    with explained(root):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            torn = end > 0 and os.pread(file.fileno(), 1, end - 1) != b"\n"
            file.write((b"\n" if torn else b"") + msgspec.json.encode(sample) + b"\n")


def read(root: Path, blueprint_id: str, version: str) -> list[Sample]:
    """The measurements of a bundle, oldest first. A line that does not decode is passed over: a process died
    while it wrote it. Raises ``StoreError``."""
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
