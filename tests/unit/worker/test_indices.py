"""How an index moves along a loop, without sympy's general simplifier: the same numbers as with it."""

from __future__ import annotations

import pytest
import sympy
from torch._inductor import sizevars
from torch.utils._sympy.functions import FloorDiv, ModularIndexing

from tezzeret_cli.worker.private_indices import indices_multiplied_out

x, y, s = sympy.symbols("x y s", integer=True, nonnegative=True)

INDICES = [
    x,
    y,
    4 * x + y,
    s * (x + 16 * y) + 3,
    (s + 1) * (2 * x + y) - 2 * s * x,
    x * y + 8 * x,
    x * (s - 1) + x,
    FloorDiv(x, 8),
    FloorDiv(x, 16) + 5 * ModularIndexing(x, 1, 16),
    64 * FloorDiv(x, 32) + ModularIndexing(x, 1, 32) + y,
    s * FloorDiv(16 * y + x, 16) + ModularIndexing(x, 1, 16),
    ModularIndexing(x, 16, 4) * 7 + FloorDiv(x, 64),
    ModularIndexing(x + 3, 1, 12),
]


def stride(index: sympy.Expr, loop: sympy.Symbol) -> sympy.Expr:
    for function in (
        sizevars.stride_at,
        sizevars.simplify_index_in_vec_range,
        sizevars.stride_at_vec_range,
    ):
        function.cache_clear()
    return sizevars.stride_at_vec_range(index, loop, 16)


@pytest.mark.parametrize("loop", [x, y], ids=str)
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_an_index_moves_by_the_same_number(index, loop):
    stock = stride(index, loop)
    with indices_multiplied_out():
        found = stride(index, loop)
    assert found.is_number == stock.is_number
    if stock.is_number:
        assert found == stock
    else:
        assert sympy.simplify(found - stock) == 0


def test_the_simplifier_is_back_afterwards():
    with indices_multiplied_out():
        assert sizevars.sympy is not sympy
    assert sizevars.sympy is sympy
