"""Convolutions as products of matrices, one for each line of the result.

What a line of the result meets of an image are as many lines of it as the kernel has. They are laid out so
that in memory one line follows another, each ``[channel, point of the kernel, row of the batch, place]``: all
that a line of the result meets is then one matrix, and the matrix of the next line begins a line later. So the
points along a line are copied, and the lines are not: a kernel of 3 by 3 takes 3 times the memory of its image,
not 9, and the whole batch is in each product.

All tensors are of images, ``[N, C, H, W]``, and weights ``[O, C, h, w]``; lists have a value for each of the two
dimensions. Lines of the kernel follow each other: it may be dilated along them only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Pads = Sequence[tuple[int, int]]
"""How many places before and behind are zero, for each dimension."""


def convolved(
    x: Tensor, weight: Tensor, stride: Sequence[int], pads: Pads, dilation: Sequence[int]
) -> Tensor:
    """The convolution without a bias, in an order of its own: make it contiguous."""
    met = _met(x, weight.shape[2:], stride, pads, dilation)
    lines, outputs = met.shape[0], weight.shape[0]
    matrix = weight.permute(0, 2, 1, 3).reshape(outputs, -1)
    result = torch.bmm(matrix.expand(lines, *matrix.shape), met)
    return result.reshape(lines, outputs, x.shape[0], -1).permute(2, 1, 0, 3)


def gradient_of_weight(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    pads: Pads,
    dilation: Sequence[int],
) -> Tensor:
    lines, outputs = grad.shape[2], weight.shape[0]
    gradients = grad.permute(2, 1, 0, 3).reshape(lines, outputs, -1)
    products = torch.bmm(gradients, _met(x, weight.shape[2:], stride, pads, dilation).mT).sum(0)
    by_lines = products.reshape(outputs, weight.shape[2], weight.shape[1], weight.shape[3])
    return by_lines.permute(0, 2, 1, 3).contiguous()


def gradient_of_input(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    pads: Pads,
    dilation: Sequence[int],
) -> Tensor:
    """A convolution of ``grad`` without a stride. Places of the image that are ``stride`` apart meet the same
    points of the kernel, so there is a channel for each kind of place, and the places are put between each
    other in the end. A dimension with a stride must not be dilated."""
    (rows, channels, height, width), outputs = x.shape, weight.shape[0]
    (down, across), (above, left) = stride, (before for before, _ in pads)
    points = [-(-k // s) for k, s in zip(weight.shape[2:], stride, strict=True)]
    missing = [n * s - k for n, k, s in zip(points, weight.shape[2:], stride, strict=True)]
    kinds = torch.constant_pad_nd(weight, [0, missing[1], 0, missing[0]])
    kinds = kinds.reshape(outputs, channels, points[0], down, points[1], across).flip((2, 4))
    kinds = kinds.permute(1, 3, 5, 0, 2, 4).reshape(channels * down * across, outputs, *points)
    reach = [
        (d * (n - 1) - before // s, (before + size - 1) // s + 1 - there)
        for n, d, s, (before, _), size, there in zip(
            points, dilation, stride, pads, x.shape[2:], grad.shape[2:], strict=True
        )
    ]
    apart = convolved(grad, kinds, (1, 1), reach, dilation)
    apart = apart.reshape(rows, channels, down, across, *apart.shape[2:]).permute(0, 1, 4, 2, 5, 3)
    image = apart.reshape(rows, channels, apart.shape[2] * down, apart.shape[4] * across)
    return image.narrow(2, above % down, height).narrow(3, left % across, width).contiguous()


def _met(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], pads: Pads, dilation: Sequence[int]
) -> Tensor:
    """What each line of the result meets, ``[line, point of the kernel, row of the batch and place]``."""
    padded = torch.constant_pad_nd(x, [amount for pad in reversed(pads) for amount in pad])
    # Of its own, so that what made the image is computed once for each place, not once for each point.
    image = padded.permute(2, 1, 0, 3).clone(memory_format=torch.contiguous_format)
    height, channels, rows, width = image.shape
    lines = (height - kernel[0]) // stride[0] + 1
    places = (width - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    windows = image.as_strided(
        (height, channels, kernel[1], rows, places),
        (channels * rows * width, rows * width, dilation[1], width, stride[1]),
    )
    points, along = channels * kernel[1], rows * places
    laid = windows.clone(memory_format=torch.contiguous_format)
    return laid.as_strided((lines, kernel[0] * points, along), (stride[0] * points * along, along, 1))
