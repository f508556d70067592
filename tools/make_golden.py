"""Pack a published bundle as a golden one: ``make_golden.py BUNDLE``.

The archive goes to ``tests/compat/golden`` under the names of its format, with the pipeline's count, and of
the torch that made it.
Compile with ``--isa avx2``, so that most machines can run it.
"""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import zstandard

from tezzeret_cli.bundle.read import read_manifest

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "compat" / "golden"


def main(bundle: str) -> None:
    folder = Path(bundle)
    manifest, _ = read_manifest(folder)
    torch = manifest.toolchain.torch.partition("+")[0]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
                entry.size = path.stat().st_size
                with path.open("rb") as file:
                    archive.addfile(entry, file)
    GOLDEN.mkdir(exist_ok=True)
    target = GOLDEN / f"format-{manifest.key_factors['tool format']}-torch-{torch}.tar.zst"
    target.write_bytes(zstandard.ZstdCompressor(level=19).compress(packed.getvalue()))
    print(f"{target.name}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
