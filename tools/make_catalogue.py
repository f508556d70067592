"""Write the binary catalogue (in the wheel and beside the fixtures) from fixtures/descriptors/*.json."""

from __future__ import annotations

import io
from pathlib import Path

from tezzeret_cli.inputs import read_descriptors
from tezzeret_cli.leyline.descriptors import CATALOGUE, catalogue_to_binary

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    fixtures = ROOT / "fixtures" / "descriptors"
    paths = [str(path) for path in sorted(fixtures.glob("*.json"))]
    data = catalogue_to_binary(read_descriptors(paths, stdin=io.BytesIO()))
    (fixtures / CATALOGUE).write_bytes(data)
    (ROOT / "tezzeret_cli" / "leyline" / CATALOGUE).write_bytes(data)


if __name__ == "__main__":
    main()
