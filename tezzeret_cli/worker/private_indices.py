"""How inductor learns how an index moves along a loop, without sympy's general simplifier.

It has ``sympy.simplify`` try all that it knows, to choose what to vectorise: half of the time that a graph
with dynamic sizes takes. What comes of it is looked at, not written, and multiplying out tells the same.
torch 2.15 does without in the dearer one of two such places.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import sympy
from torch._inductor import sizevars


@contextlib.contextmanager
def indices_multiplied_out() -> Iterator[None]:
    """While this lasts, inductor multiplies indices out where it would have them simplified."""
    vars(sizevars)["sympy"] = _Sympy()
    try:
        yield
    finally:
        vars(sizevars)["sympy"] = sympy


class _Sympy:
    """The package, as ``sizevars`` sees it."""

    @staticmethod
    def simplify(expression: sympy.Expr) -> sympy.Expr:
        return sympy.expand_mul(expression)

    def __getattr__(self, name: str) -> Any:
        return getattr(sympy, name)
