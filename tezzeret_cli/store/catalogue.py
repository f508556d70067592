"""What a store holds: bundles by job key and by lineage. Reading only; nothing here raises for damage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tezzeret_cli.bundle.read import MANIFEST, SIGNATURE, read_manifest
from tezzeret_cli.bundle.scan import Published, published
from tezzeret_cli.errors import DamagedBundleError
from tezzeret_cli.model.manifest import Manifest


class Catalogue:
    """The bundles of some blueprints as they were when it was made.

    ``damaged`` lists what looked like a bundle and is not, with the reason.
    """

    def __init__(self, store: Path, blueprint_ids: set[str]) -> None:
        self.damaged: list[str] = []
        self._bundles: dict[str, list[tuple[Published, Manifest]]] = {}
        for blueprint_id in sorted(blueprint_ids):
            for item in published(store, blueprint_id):
                try:
                    manifest, _ = read_manifest(item.path)
                except DamagedBundleError as error:
                    self.damaged.append(str(error))
                    continue
                self._bundles.setdefault(blueprint_id, []).append((item, manifest))

    def made_for(self, blueprint_id: str, key: str) -> tuple[Published, Manifest] | None:
        """The newest bundle made for ``key`` that needs no second attempt, whatever state it is in. A
        fallback is one only when its reason is deterministic."""
        found = [
            (item, manifest)
            for item, manifest in self._bundles.get(blueprint_id, ())
            if manifest.job_key == key and _settled(manifest)
        ]
        return max(found, key=lambda pair: pair[0].version.numbers, default=None)

    def newest(self, blueprint_id: str, lineage: str | None = None) -> Manifest | None:
        """The newest bundle of a lineage, or of the blueprint in any lineage by time of publication."""
        found = [
            (item, manifest)
            for item, manifest in self._bundles.get(blueprint_id, ())
            if lineage in (None, item.version.lineage)
        ]
        if lineage is None:
            return max((m for _, m in found), key=lambda m: m.created, default=None)
        best = max(found, key=lambda pair: pair[0].version.numbers, default=None)
        return best[1] if best else None


def is_intact(bundle: Path, manifest: Manifest) -> bool:
    """Whether exactly the listed files, and the signature if there is one, are there in their sizes.
    Contents are not read."""
    sizes = dict(_sizes(os.fspath(bundle)))
    sizes.pop(MANIFEST, None)
    signed = sizes.pop(SIGNATURE, None) is not None
    listed = {entry.path: entry.stored_size for entry in manifest.files}
    return signed == (manifest.signature is not None) and sizes == listed


def _sizes(folder: str, prefix: str = "") -> Iterator[tuple[str, int]]:
    """The files below ``folder`` with their sizes in bytes, as far as they can be read; a link is a file."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _sizes(entry.path, f"{prefix}{entry.name}/")
                else:
                    yield f"{prefix}{entry.name}", entry.stat(follow_symlinks=False).st_size
    except OSError:
        return


def _settled(manifest: Manifest) -> bool:
    return not manifest.eager_fallback or (manifest.reason is not None and manifest.reason.deterministic)
