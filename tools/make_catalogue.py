"""Write the packed catalogue (for the wheel) and the binary one from fixtures/descriptors/*.json."""

from __future__ import annotations

import io
from pathlib import Path

from tezzeret_cli.inputs import read_descriptors
from tezzeret_cli.leyline.descriptors import CATALOGUE, catalogue_to_binary, pack_catalogue

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    fixtures = ROOT / "fixtures" / "descriptors"
    paths = [str(path) for path in sorted(fixtures.glob("*.json"))]
    descriptors = read_descriptors(paths, stdin=io.BytesIO())
    (fixtures / "catalogue.binpb").write_bytes(catalogue_to_binary(descriptors))
    (ROOT / "tezzeret_cli" / "leyline" / CATALOGUE).write_bytes(pack_catalogue(descriptors))


if __name__ == "__main__":
    main()
