"""Pick the bundle of a blueprint that this process can run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from tezzeret_cli import isa
from tezzeret_cli.bundle.read import read_manifest
from tezzeret_cli.bundle.scan import BUNDLES, Published, published
from tezzeret_cli.bundle.target import mismatch
from tezzeret_cli.errors import DamagedBundleError, NoBundleError
from tezzeret_cli.model.manifest import Manifest


def find(
    store: str | os.PathLike[str],
    blueprint_id: str,
    params: Mapping[str, float] | None = None,
    version: str | None = None,
    *,
    device: str = "cpu",
    quarantined: bool = False,
) -> Path:
    """The folder of the newest bundle of ``blueprint_id`` that runs here.

    ``params`` narrows to bundles made with these parameter values; ``version`` asks for one version,
    with or without its lineage. A compiled bundle is preferred to an eager fallback, and among bundles
    of several lineages the most recently published wins. Bundles in quarantine count with ``quarantined``
    only. Raises ``NoBundleError`` that says what was
    found instead.
    """
    flags = isa.cpu_flags()
    fitting: list[tuple[Published, Manifest]] = []
    refused: list[str] = []
    for item in published(Path(store), blueprint_id):
        if version is not None and version not in (str(item.version), str(item.version).partition("+")[0]):
            continue
        try:
            manifest, _ = read_manifest(item.path)
        except DamagedBundleError as error:
            refused.append(str(error))
            continue
        reason = _refusal(manifest, params, device, flags)
        if manifest.quarantine and not quarantined:
            reason = f"it is in quarantine: {manifest.quarantine}"
        if reason is None:
            fitting.append((item, manifest))
        else:
            refused.append(f"{item.version}: {reason}")
    if not fitting:
        nothing = "the store has none" if (Path(store) / BUNDLES).is_dir() else f"{store} is no store"
        found = "; ".join(refused) or nothing
        raise NoBundleError(f"no bundle of {blueprint_id} fits here: {found}")
    newest: dict[str, tuple[Published, Manifest]] = {}
    for item, manifest in fitting:
        known = newest.get(item.version.lineage)
        if known is None or known[0].version < item.version:
            newest[item.version.lineage] = (item, manifest)
    best = max(newest.values(), key=lambda pair: (not pair[1].eager_fallback, pair[1].created))
    return best[0].path


def compute_capability(device: str | torch.device) -> str:
    """Of a GPU, as manifests write it, such as ``9.0``."""
    return ".".join(map(str, torch.cuda.get_device_capability(device)))


def _refusal(
    manifest: Manifest, params: Mapping[str, float] | None, device: str, flags: frozenset[str]
) -> str | None:
    for name, value in (params or {}).items():
        if manifest.parameters.get(name) != value:
            return f"it has {name}={manifest.parameters.get(name)}"
    kind = device.partition(":")[0]
    if manifest.target.device != kind:
        return f"it is built for {manifest.target.device}"
    if kind == "cuda" and torch.cuda.is_available():
        have = compute_capability(device)
        if manifest.target.capability not in (None, have):
            return f"it is built for compute capability {manifest.target.capability}"
    return None if manifest.eager_fallback else mismatch(manifest.target, flags)
