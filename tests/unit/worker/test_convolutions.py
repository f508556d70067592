"""Convolutions that are written as something else, against eager's."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from tezzeret_cli.worker import lines
from tezzeret_cli.worker.convolutions import decompositions

# Spatial dimensions, channels in and out, kernel, padding, dilation, groups.
Shape = tuple[int, int, int, int, int, int, int]

REWRITTEN: list[Shape] = [
    (1, 8, 4, 1, 0, 3, 1),
    (2, 16, 8, 1, 0, 1, 1),
    (2, 20, 10, 1, 0, 1, 5),
    (3, 4, 6, 1, 0, 1, 2),
    (1, 8, 8, 1, 0, 1, 8),
    (1, 8, 8, 3, 1, 1, 8),
    (1, 8, 8, 9, 4, 1, 8),
    (1, 8, 8, 3, 2, 3, 8),
    (1, 6, 6, 4, 0, 2, 6),
    (2, 8, 6, 3, 1, 1, 1),
    (2, 2, 1, 7, 3, 1, 1),
    (2, 3, 5, 4, 0, 1, 1),
    (1, 8, 4, 3, 2, 2, 1),
    (1, 5, 4, 2, 1, 1, 1),
]
PARTLY: list[Shape] = [
    (2, 8, 8, 5, 2, 1, 8),
    (1, 8, 8, 3, 4, 1, 8),
    (1, 8, 8, 3, 200, 60, 8),
]
"""Depthwise with an image, with padding that reaches further than the kernel, or with many places: oneDNN
keeps a part of the gradients."""

LEFT: list[Shape] = [
    (1, 8, 8, 3, 2, 2, 2),
    (2, 8, 6, 1, 1, 1, 1),
    (2, 8, 6, 3, 2, 2, 1),
    (2, 64, 64, 3, 1, 1, 1),
    (3, 4, 4, 2, 1, 1, 1),
]
"""Groups, padding beyond the kernel, lines of the kernel apart, many multiplications, three dimensions."""

STRIDED: list[tuple[Shape, int]] = [
    ((2, 4, 6, 3, 1, 1, 1), 2),
    ((2, 4, 6, 3, 0, 1, 1), 3),
    ((2, 4, 6, 2, 1, 1, 1), 2),
    ((2, 4, 6, 5, 2, 1, 1), 2),
    ((2, 4, 6, 1, 0, 1, 1), 2),
    ((1, 4, 6, 3, 2, 1, 1), 2),
    ((1, 4, 6, 2, 0, 1, 1), 5),
]

_SAME = lines.Geometry((1, 1), (1, 1), (1, 1), 1)


def _tensors(shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    dims, channels, outputs, kernel, _, _, groups = shape
    torch.manual_seed(0)
    x = torch.randn(3, channels, *range(9, 9 + dims), dtype=torch.float64)
    weight = torch.randn(outputs, channels // groups, *[kernel] * dims, dtype=torch.float64)
    return x, weight, torch.randn(outputs, dtype=torch.float64)


def _rest(shape: Shape, stride: int = 1) -> tuple[Any, ...]:
    dims, _, _, _, padding, dilation, groups = shape
    return [stride] * dims, [padding] * dims, [dilation] * dims, False, [0] * dims, groups


def _traced(function: Any, *tensors: Tensor) -> Any:
    return make_fx(function, decomposition_table=decompositions())(*tensors)


def _convolutions(graph: Any) -> int:
    return sum("convolution" in str(node.target) for node in graph.graph.nodes if node.op == "call_function")


@pytest.mark.parametrize("shape", REWRITTEN, ids=str)
@pytest.mark.parametrize("biased", [True, False])
def test_a_point_or_a_small_depthwise_kernel_gives_what_eager_gives_without_a_convolution(
    shape: Shape, biased: bool
) -> None:
    x, weight, bias = _tensors(shape)

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.ops.aten.convolution(x, weight, bias if biased else None, *_rest(shape))

    graph = _traced(run, x, weight, bias)

    assert _convolutions(graph) == 0
    expected = run(x, weight, bias)
    found = graph(x, weight, bias)
    torch.testing.assert_close(found, expected)
    assert found.stride() == expected.stride()


@pytest.mark.parametrize("mask", list(itertools.product([True, False], repeat=3))[:-1], ids=str)
@pytest.mark.parametrize("shape", [*REWRITTEN, *PARTLY, *LEFT], ids=str)
def test_gradients_are_eagers_whichever_are_asked_for(shape: Shape, mask: tuple[bool, bool, bool]) -> None:
    x, weight, bias = _tensors(shape)
    grad = torch.randn_like(torch.ops.aten.convolution(x, weight, bias, *_rest(shape)))

    def run(grad: Tensor, x: Tensor, weight: Tensor) -> list[Tensor]:
        sizes = list(bias.shape)
        found = torch.ops.aten.convolution_backward(grad, x, weight, sizes, *_rest(shape), list(mask))
        return [tensor for tensor, wanted in zip(found, mask, strict=True) if wanted]

    graph = _traced(run, grad, x, weight)

    assert _convolutions(graph) == 0 or shape not in REWRITTEN or not any(mask[:2])
    torch.testing.assert_close(graph(grad, x, weight), run(grad, x, weight))


@pytest.mark.parametrize(("shape", "stride"), STRIDED, ids=str)
def test_a_kernel_with_a_stride_gives_what_eager_gives_without_a_convolution(
    shape: Shape, stride: int
) -> None:
    x, weight, bias = _tensors(shape)
    rest = _rest(shape, stride)

    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.ops.aten.convolution(x, weight, bias, *rest)

    def backward(grad: Tensor, x: Tensor, weight: Tensor) -> Any:
        return torch.ops.aten.convolution_backward(grad, x, weight, list(bias.shape), *rest, [True] * 3)

    expected = forward(x, weight, bias)
    grad = torch.randn_like(expected)
    for function, tensors in ((forward, (x, weight, bias)), (backward, (grad, x, weight))):
        graph = _traced(function, *tensors)
        assert _convolutions(graph) == 0
        torch.testing.assert_close(graph(*tensors), function(*tensors))


def test_an_image_is_copied_for_the_points_along_a_line_only() -> None:
    x, weight, _ = _tensors((2, 8, 6, 3, 1, 1, 1))
    graph = make_fx(lambda x, weight: lines.convolved(x, weight, _SAME))(x, weight)

    largest = max(
        node.meta["val"].untyped_storage().nbytes() for node in graph.graph.nodes if "val" in node.meta
    )

    height, width = x.shape[2] + 2, x.shape[3]
    assert largest == 3 * height * width * x.shape[1] * x.shape[0] * x.itemsize


def test_a_depthwise_kernel_of_an_image_keeps_onednn_for_its_input_only() -> None:
    x, weight, bias = _tensors(PARTLY[0])
    rest = _rest(PARTLY[0])

    def run(grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        result: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
            grad, x, weight, list(bias.shape), *rest, [True] * 3
        )
        return result

    graph = _traced(run, torch.ops.aten.convolution(x, weight, bias, *rest), x, weight)

    (node,) = [n for n in graph.graph.nodes if "convolution" in str(n.target)]
    assert list(node.args[-1]) == [True, False, False]


@pytest.mark.parametrize(
    ("shape", "stride", "dtype", "layout"),
    [
        *[(shape, 1, torch.float64, torch.contiguous_format) for shape in LEFT],
        ((1, 4, 6, 3, 2, 2, 1), 2, torch.float64, torch.contiguous_format),
        (REWRITTEN[5], 2, torch.float64, torch.contiguous_format),
        (REWRITTEN[1], 1, torch.bfloat16, torch.contiguous_format),
        (REWRITTEN[1], 1, torch.float32, torch.channels_last),
    ],
    ids=str,
)
def test_others_stay_convolutions(
    shape: Shape, stride: int, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    x, weight, bias = (tensor.to(dtype) for tensor in _tensors(shape))
    if layout is torch.channels_last:
        x = x.to(memory_format=layout)

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.ops.aten.convolution(x, weight, bias, *_rest(shape, stride))

    assert _convolutions(_traced(run, x, weight, bias)) == 1
