"""Stores with bundles made by hand, old as they are told to be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.manifests import draft, stage
from tezzeret_cli.bundle.use import mark_of
from tezzeret_cli.store.layout import Store, open_store
from tezzeret_cli.store.publish import write_manifest

DAY = 86400.0


def put(
    store: Store, blueprint_id: str, version: str, *, published: float, used: float | None = None, **changes
):
    """A published bundle with the times given, in seconds since 1970; its folder."""
    folder = store.bundle(blueprint_id, version)
    stage(folder)
    changes.setdefault("job_key", f"{blueprint_id}-{version}")
    manifest = draft(blueprint_id=blueprint_id, version=version, lineage=version.partition("+")[2], **changes)
    write_manifest(folder, manifest)
    os.utime(folder / "manifest.json", (published, published))
    if used is not None:
        mark = Path(mark_of(str(folder)))
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        os.utime(mark, (used, used))
    return folder


def fresh(root: Path) -> Store:
    shutil.rmtree(root, ignore_errors=True)
    return open_store(root)
