"""One graph for a batch of one and for larger ones.

torch asks whether a size is one where a tensor is reshaped, since the stride of such a dimension is
anybody's, and where it chooses who computes a convolution. Either answer binds the graph, and a second one
has to be made for the other. What is right for any size is right for one, too: strides that are found as if
no size were one lead to the same elements. torch itself decides so for sizes that it cannot know.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import sympy
import torch
from torch import Tensor
from torch._subclasses import fake_impls
from torch.fx.experimental.sym_node import SymNode

_COMPARED = "SymInt.h"
"""Where torch's C++ compares sizes: what is reshaped, and whether it can stay where it is."""

_CONVOLUTION = ("_select_conv_backend", "_conv_determine_backend_memory_format")

_Function = Callable[..., Any]


@contextlib.contextmanager
def any_batch() -> Iterator[None]:
    """While this lasts, these questions are answered as for any size."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_replaced(SymNode, "guard_bool", _decided))
        stack.enter_context(_replaced(fake_impls, "_compute_stride", _for_any_size))
        for name in _CONVOLUTION:
            stack.enter_context(_replaced(torch._C, name, _by_example))
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, by: Callable[[_Function], _Function]) -> Iterator[None]:
    stock = vars(owner)[name]
    setattr(owner, name, by(stock))
    try:
        yield
    finally:
        setattr(owner, name, stock)


def _decided(stock: _Function) -> _Function:
    """For ``SymNode.guard_bool``, which is told who asks."""

    def guard_bool(self: Any, file: str, line: int) -> Any:
        asked = file.endswith(_COMPARED) and asks_for_one(self.expr)
        if asked and self.shape_env._maybe_evaluate_static(self.expr) is None:
            return isinstance(self.expr, sympy.Ne)
        return stock(self, file, line)

    return guard_bool


def asks_for_one(question: sympy.Basic) -> bool:
    """Whether ``question`` compares, and only a size of one is equal: ``16*s == 16``."""
    if not isinstance(question, sympy.Eq | sympy.Ne) or len(question.free_symbols) != 1:
        return False
    (size,) = question.free_symbols
    apart = (question.lhs - question.rhs).as_poly(size)
    return apart is not None and apart.degree() == 1 and apart.eval(1) == 0


def _for_any_size(stock: _Function) -> _Function:
    """For the same in Python, which inductor uses."""

    def compute_stride(*args: Any, size_oblivious: bool = False) -> Any:
        return stock(*args, size_oblivious=True)

    return compute_stride


def _by_example(stock: _Function) -> _Function:
    """For what decides about a convolution: it sees tensors of the example's sizes."""

    def decide(*args: Any, **kwargs: Any) -> Any:
        return stock(*map(_example, args), **{name: _example(value) for name, value in kwargs.items()})

    return decide


def _example(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    sizes, strides = (*value.shape,), (*value.stride(),)
    if all(isinstance(number, int) for number in sizes + strides):
        return value
    return torch.empty_strided(
        [hint(size) for size in sizes],
        [hint(stride) for stride in strides],
        dtype=value.dtype,
        device=value.device,
    )


def hint(size: Any) -> int:
    """The example value of a size that may be symbolic."""
    return int(size.node.hint) if isinstance(size, torch.SymInt) else int(size)
