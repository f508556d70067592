"""What a forward keeps for its backward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tezzeret_cli.worker.private import trace


def kept(call: Callable[[Tensor], Tensor]) -> list[tuple[bool, torch.dtype]]:
    """Of each value that the forward returns beside its results: whether it is one of them, and its kind."""
    found = trace(call, [torch.randn(4, 8, requires_grad=True)], backward=True)
    assert found.forward is not None
    (output,) = found.forward.graph.find_nodes(op="output")
    results, saved = output.args[0][:1], output.args[0][1:]
    return [(node in results, node.meta["val"].dtype) for node in saved]


def test_of_a_relu_whose_result_is_returned_the_result_is_kept_instead_of_a_mask() -> None:
    assert kept(torch.relu) == [(True, torch.float32)]


@pytest.mark.parametrize("after", [torch.exp, torch.neg], ids=["exp", "neg"])
def test_of_another_relu_the_partitioner_decides(after: Callable[[Tensor], Tensor]) -> None:
    assert (False, torch.bool) in kept(lambda x: after(torch.relu(x)))
