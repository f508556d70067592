"""Manifests and bundles made by hand, for tests that need no compiler."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from tezzeret_cli.model.descriptor import Descriptor
from tezzeret_cli.model.job import Factory
from tezzeret_cli.model.manifest import FileEntry, Manifest, Target, Toolchain

TARGET = Target("linux", "x86_64", "avx2", (), "cpu")
DATA = b"tensors"

DRAFT = Manifest(
    format=1,
    blueprint_id="BP001",
    version="0.0.0+unpublished",
    lineage="cpu-avx2-abc123",
    descriptor=Descriptor("BP001", "identity_passthrough"),
    parameters={},
    factory=Factory("m:f", "digest"),
    job_key="key",
    key_factors={"torch": "2.13.0"},
    toolchain=Toolchain("0.1.0", "2.13.0", "g++ 12", "3.11"),
    target=TARGET,
    compile_strategy="standard",
    eager_fallback=False,
    reason=None,
    created="2026-01-01T00:00:00.000+00:00",
    slots=(),
    modules=(),
    variants=(),
    guard_spec=(),
    guard_spec_summary=(),
    guard_digest="",
    files=(FileEntry("data", len(DATA), hashlib.sha256(DATA).hexdigest(), len(DATA)),),
)


def draft(**changes: object) -> Manifest:
    return msgspec.structs.replace(DRAFT, **changes)


def stage(folder: Path) -> Path:
    """A staging folder with the files that ``DRAFT`` lists."""
    folder.mkdir(parents=True)
    (folder / "data").write_bytes(DATA)
    return folder
