"""What stands in for a large library while something is linked with it. Torch-free.

A linker reads the names of all that a library defines. torch's has 75,000, which takes four times as long as
the rest of a small library's link; a bundle's library calls none of them but functions of C.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

NAMES = ("aoti_", "Sleef_")
"""How the names begin that a stand-in defines: torch's interface of C, and the vector functions in its
library. Another name stays undefined in what is linked, and is looked for in the large library on opening."""


def stand_in_source(library: Path) -> str:
    """Assembler text of a library that defines these functions of ``library``, empty.

    Raises ``OSError`` and ``subprocess.CalledProcessError``.
    """
    command = ["nm", "-D", "--defined-only", "--format=posix", str(library)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = ['.section .note.GNU-stack,"",%progbits', ".text"]
    for line in listed.splitlines():
        name, kind, *_ = line.split()
        if kind in "TW" and name.startswith(NAMES):
            lines += [f".global {name}", f".type {name}, %function", f"{name}:"]
    return "\n".join([*lines, ""])
