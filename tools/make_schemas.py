"""Write the JSON Schemas of what others read: ``make_schemas.py [--check]``.

They are generated from the structs, so that another program can read a manifest, a report or a record of a
journal without this code. ``--check`` only compares, and exits with 1 when a file is stale.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from tezzeret_cli.model.collect import GcReport
from tezzeret_cli.model.manifest import Manifest
from tezzeret_cli.model.prewarm import PrewarmReport, Sample
from tezzeret_cli.model.records import Record
from tezzeret_cli.model.report import Report
from tezzeret_cli.model.stats import Stats
from tezzeret_cli.model.telemetry import Entry
from tezzeret_cli.model.verification import VerifyReport

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "schema"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
STRUCTS: dict[str, tuple[str, Any]] = {
    "manifest": ("A bundle's manifest.json, format 1", Manifest),
    "gc": ("The report of gc --json, schema 1", GcReport),
    "prewarm": ("The report of prewarm --json, schema 1", PrewarmReport),
    "sample": ("A line of a bundle's samples, schema 1", Sample),
    "stats": ("The output of stats --json, schema 1", Stats),
    "telemetry": ("A line of a store's telemetry, schema 1", Entry),
    "report": ("The report of --json, schema 1", Report),
    "verify": ("The report of verify --json, schema 1", VerifyReport),
    "record": ("The payload (msgpack) of a record in a run's journal, schema 1", Record),
}


def schema(name: str) -> str:
    """The text of one schema."""
    title, struct = STRUCTS[name]
    body = {"$schema": DIALECT, "title": title, **msgspec.json.schema(struct)}
    return json.dumps(body, indent=2) + "\n"


def main(args: list[str]) -> int:
    stale = 0
    for name in STRUCTS:
        path = FOLDER / f"{name}.schema.json"
        text = schema(name)
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale = 1
        print(f"{path.relative_to(FOLDER.parents[1])}: {'stale' if '--check' in args else 'written'}")
        if "--check" not in args:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return stale if "--check" in args else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
