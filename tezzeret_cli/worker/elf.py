"""What compiled libraries need of the system that opens them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path


def needed_symbols(libraries: Sequence[Path]) -> dict[str, str]:
    """The highest ``GLIBC`` and ``GLIBCXX`` versions that the libraries refer to."""
    highest: dict[str, tuple[int, ...]] = {}
    for library in libraries:
        dump = subprocess.run(["objdump", "-p", str(library)], check=True, capture_output=True, text=True)
        for name, version in re.findall(r"\b(GLIBC|GLIBCXX)_([0-9.]+)\b", dump.stdout):
            number = tuple(int(part) for part in version.split("."))
            highest[name] = max(highest.get(name, ()), number)
    return {name: ".".join(map(str, number)) for name, number in sorted(highest.items())}
