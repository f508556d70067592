"""The library of a bundle: every graph that needs nothing beside its code goes into it. Torch-free."""

from __future__ import annotations

import shutil
from pathlib import Path

from tezzeret_cli.worker.sources import Code, joined
from tezzeret_cli.worker.toolchain import Flags, Toolchain

GRAPHS = "lib/graphs.so"
"""Where in a bundle it is."""


class Library:
    """Collects the code of graphs and compiles it at once.

    ``wanted`` false takes none: each graph then has a library of its own, with AOTInductor's whole container.
    """

    def __init__(self, wanted: bool = True) -> None:
        self._wanted = wanted
        self._codes: list[Code] = []
        self._flags: Flags | None = None

    def __len__(self) -> int:
        return len(self._codes)

    def add(self, code: Code, flags: Flags) -> bool:
        """Take the code of one more graph, the n-th, which is its entry; whether it was taken."""
        if not self._wanted or self._flags not in (None, flags):
            return False
        self._flags = flags
        self._codes.append(code)
        return True

    def forget(self, count: int) -> None:
        """Drop all graphs but the first ``count``: the attempt that they were made for was given up."""
        del self._codes[count:]

    def build(self, staging: Path, scratch: Path, shared: Path, *, precompile: bool) -> list[str]:
        """Compile what was taken into the bundle in ``staging``; notes on how. Raises ``CompilerError``, and
        ``OSError`` for a full disk."""
        if not self._codes or self._flags is None:
            return []
        toolchain = Toolchain(self._flags, shared, precompile)
        made = toolchain.build(joined(self._codes), scratch)
        target = staging / GRAPHS
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(made, target)
        return toolchain.notes
