"""Tezzeret: compile blueprints ahead of time into bundles that train without a compiler.

``load`` and ``find`` are the consumer's side. Importing this package imports nothing heavy; torch is
imported when one of them is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "find", "load"]

if TYPE_CHECKING:
    from tezzeret_cli.runtime import find, load


def __getattr__(name: str) -> Any:
    if name in ("find", "load"):
        from tezzeret_cli import runtime

        return getattr(runtime, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
