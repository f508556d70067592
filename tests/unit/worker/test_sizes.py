"""One graph for a batch of one and for larger ones, where a module allows it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sympy
import torch
from torch import Tensor, nn

from tezzeret_cli.model.job import BatchRange
from tezzeret_cli.worker.capture import Specialised, capture, check_shapes, symbol_ranges
from tezzeret_cli.worker.private_sizes import any_batch, asks_for_one
from tezzeret_cli.worker.subject import Subject, flatten_arguments

# A capture's inputs are no leaves, as in a training step; Dynamo looks whether they have a gradient.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")

s, t = sympy.symbols("s t", integer=True, positive=True)


@pytest.mark.parametrize(
    "question", [sympy.Eq(s, 1), sympy.Ne(s, 1), sympy.Ne(16 * s, 16), sympy.Eq(3, 3 * s)]
)
def test_what_only_a_size_of_one_answers_otherwise(question):
    assert asks_for_one(question)


@pytest.mark.parametrize(
    "question",
    [
        sympy.Eq(s, 2),
        sympy.Ne(16 * s, 32),
        sympy.Eq(s, t),
        sympy.Eq(s * s, s),
        sympy.Lt(s, 2),
        sympy.Ne(sympy.Mod(s, 8), 1),
        sympy.true,
    ],
)
def test_what_other_sizes_answer_otherwise_too(question):
    assert not asks_for_one(question)


class Calls(nn.Module):
    def __init__(self, function: Callable[..., Tensor], *shape: int) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.randn(*shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight)


class Attends(nn.Module):
    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


MODULES = {
    "convolution": (lambda: nn.Conv2d(3, 4, 3, padding=1), (3, 6, 6)),
    "point": (lambda: nn.Conv2d(3, 4, 1), (3, 6, 6)),
    "strided": (lambda: nn.Conv1d(3, 4, 3, stride=2), (3, 9)),
    "groups": (lambda: nn.Conv2d(8, 16, 1, groups=4), (8, 4, 4)),
    "attention": (lambda: Attends(nn.MultiheadAttention(8, 2, batch_first=True)), (5, 8)),
    "einsum": (lambda: Calls(lambda x, w: torch.einsum("bni,eij->bnej", x, w), 3, 8, 4), (5, 8)),
    "matrices": (lambda: Calls(lambda x, w: x.unsqueeze(1) @ w, 4, 8, 3), (5, 8)),
    "places swapped": (lambda: Calls(lambda x, w: (x.transpose(0, 1) * w).reshape(-1, 8), 8), (5, 8)),
}


def captured(module: nn.Module, example: Tensor, smallest: int = 1):
    subject = Subject.of(module)
    tree, tensors = flatten_arguments((example,), subject.names)
    batch = BatchRange(smallest, 64)
    return subject, capture(
        subject, tree, tensors, training=True, backward=True, batch=batch, device=torch.device("cpu")
    )


@pytest.mark.parametrize("name", MODULES)
def test_one_graph_computes_what_eager_does_for_one_and_for_more(name):
    make, shape = MODULES[name]
    torch.manual_seed(0)
    module = make()
    subject, found = captured(module, torch.randn(4, *shape))
    assert list(symbol_ranges(found).values()) == [BatchRange(1, 64)]
    graph = found.trace.forward
    for batch in (1, 2, 4, 17):
        x = torch.randn(batch, *shape)
        sizes = [batch for source in found.sources if source is None]
        by_source = {"input": [x], "tensor": list(subject.tensors)}
        arguments = [
            sizes.pop() if source is None else by_source[source.kind.value][source.index]
            for source in found.sources
        ]
        result = graph(*arguments)[0]
        expected = module(x)
        assert result.shape == expected.shape
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
        check_shapes(found, [x], [expected])


def test_a_batch_of_one_that_eager_leaves_out_is_seen():
    module = nn.Sequential(nn.Linear(8, 1), Calls(lambda x, w: x.squeeze() * w, 1))
    _, found = captured(module, torch.randn(4, 8))
    check_shapes(found, [torch.randn(3, 8)], [torch.randn(3)])
    with pytest.raises(Specialised, match=r"for \(1, 8\) eager returns \(\), the graph \(1,\)"):
        check_shapes(found, [torch.randn(1, 8)], [torch.tensor(0.5)])


def test_torch_is_as_before_afterwards():
    names = "_select_conv_backend", "_conv_determine_backend_memory_format"
    before = [getattr(torch._C, name) for name in names]
    with any_batch():
        assert [getattr(torch._C, name) for name in names] != before
    assert [getattr(torch._C, name) for name in names] == before
