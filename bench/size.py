"""Bytes on disk: a bundle beside AOTInductor's package of the same module.

``python -m bench.size [ID]... [--json FILE]`` takes the store's bundles, or those of the blueprints named.
The package is what ``torch.export`` and ``aoti_compile_and_package`` make with their own settings: the
forward for the example's shapes, with the parameters. A bundle is everything in its folder: forward and
backward, every mode and batch size, the parameters, manifest and signature. A package takes up to a minute.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from bench.support import Figures, bundles, measuring
from bench.throughput import FORWARD, stock


def main(args: list[str]) -> None:
    with measuring("size", args) as figures:
        compare(figures, args)


def compare(figures: Figures, wanted: list[str]) -> None:
    print("blueprint\tbundle KiB\tparameters KiB\tpackage KiB\tbundle / package")
    ratios: dict[str, float] = {}
    run = stock(FORWARD)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for path, manifest in bundles(wanted):
            name = f"{manifest.blueprint_id} {manifest.descriptor.name}"
            if failed := run(folder, [manifest.blueprint_id]):
                print(name, *failed.values(), sep="\t", flush=True)
                continue
            package = (folder / "artefacts" / f"{manifest.blueprint_id}.pt2").stat().st_size / 1024
            bundle = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1024
            tensors = [entry for entry in manifest.files if entry.path.endswith(".safetensors")]
            parameters = sum(entry.stored_size for entry in tensors) / 1024
            figures.add(
                "bundles", blueprint=name, bundle_kib=bundle, parameters_kib=parameters, package_kib=package
            )
            ratios[name] = bundle / package
            print(f"{name}\t{bundle:.0f}\t{parameters:.0f}\t{package:.0f}\t{ratios[name]:.2f}", flush=True)
    worst = max(ratios, key=ratios.__getitem__)
    print(
        f"bundle / package over {len(ratios)}: median {statistics.median(ratios.values()):.2f}, "
        f"worst {ratios[worst]:.2f} ({worst})"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
