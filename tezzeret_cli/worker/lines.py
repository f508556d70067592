"""Convolutions as products of matrices, one for each line of the result.

What a line of the result meets of an image are as many lines of it as the kernel has. They are laid out so
that in memory one line follows another, each ``[channel, point of the kernel, row of the batch, place]``: all
that a line of the result meets is then one matrix, and the next line's begins a line later. So the points
along a line are copied, and the lines are not: a kernel of 3 by 3 takes 3 times the memory of its image, not
9, and the whole batch is in each product.

Images are ``[N, C, H, W]``, weights ``[O, C, h, w]``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Geometry(NamedTuple):
    """Of a convolution; pairs are for the two dimensions. Lines of the kernel follow each other, points along
    them are ``dilation`` apart; ``before`` and ``behind`` are how many places of zeros the image gets."""

    stride: tuple[int, int]
    before: tuple[int, int]
    behind: tuple[int, int]
    dilation: int


def convolved(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """The convolution without a bias, in an order of its own: make it contiguous."""
    met = _met(x, weight, geometry)
    lines, outputs = met.shape[0], weight.shape[0]
    matrix = weight.permute(0, 2, 1, 3).reshape(outputs, -1)
    result = torch.bmm(matrix.expand(lines, *matrix.shape), met)
    return result.reshape(lines, outputs, x.shape[0], -1).permute(2, 1, 0, 3)


def gradient_of_weight(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    outputs, channels, height, width = weight.shape
    lines = grad.permute(2, 1, 0, 3).reshape(grad.shape[2], outputs, -1)
    product = torch.bmm(lines, _met(x, weight, geometry).mT).sum(0)
    return product.reshape(outputs, height, channels, width).permute(0, 2, 1, 3).contiguous()


def gradient_of_input(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """A convolution of ``grad`` without a stride. Places of the image that are ``stride`` apart meet the same
    points of the kernel, so there is a channel for each kind of place, and in the end the kinds are put
    between each other. Along lines there must not be both a stride and a dilation."""
    rows, channels, height, width = x.shape
    (down, across), (above, left) = geometry.stride, geometry.before
    high, wide = -(-weight.shape[2] // down), -(-weight.shape[3] // across)
    filled = torch.constant_pad_nd(
        weight, [0, wide * across - weight.shape[3], 0, high * down - weight.shape[2]]
    )
    kinds = filled.reshape(-1, channels, high, down, wide, across).flip((2, 4))
    kinds = kinds.permute(1, 3, 5, 0, 2, 4).reshape(channels * down * across, -1, high, wide)
    before = (high - 1 - above // down, geometry.dilation * (wide - 1) - left // across)
    behind = (
        (above + height - 1) // down + 1 - grad.shape[2],
        (left + width - 1) // across + 1 - grad.shape[3],
    )
    apart = convolved(grad, kinds, Geometry((1, 1), before, behind, geometry.dilation))
    _, _, lines, places = apart.shape
    apart = apart.reshape(rows, channels, down, across, lines, places).permute(0, 1, 4, 2, 5, 3)
    image = apart.reshape(rows, channels, lines * down, places * across)
    return image.narrow(2, above % down, height).narrow(3, left % across, width).contiguous()


def _met(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """What each line of the result meets, ``[line, point of the kernel, row of the batch and place]``."""
    (above, left), (below, right) = geometry.before, geometry.behind
    padded = torch.constant_pad_nd(x, [left, right, above, below])
    # Of its own, so that what made the image is computed once for each place, not once for each point.
    image = padded.permute(2, 1, 0, 3).clone(memory_format=torch.contiguous_format)
    height, channels, rows, width = image.shape
    high, wide = weight.shape[2:]
    down, across = geometry.stride
    places = (width - geometry.dilation * (wide - 1) - 1) // across + 1
    windows = image.as_strided(
        (height, channels, wide, rows, places),
        (channels * rows * width, rows * width, geometry.dilation, width, across),
    )
    laid = windows.clone(memory_format=torch.contiguous_format)
    points, along = channels * wide, rows * places
    return laid.as_strided(
        ((height - high) // down + 1, high * points, along), (down * points * along, along, 1)
    )
