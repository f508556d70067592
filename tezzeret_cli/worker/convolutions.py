"""Convolutions that are written as something else before they are compiled, because that costs less.

oneDNN makes code for each shape of a convolution when a process first meets it, up to a millisecond for
each of forward, gradient of the input and gradient of the weight, and more where threads spin beside. A
convolution whose kernel is a point is a matrix product, for which there is code already; a depthwise one in
one dimension is a few elementwise operations, and the gradient of its weight a sum, for which the bundle's
own library has code; a small one of any other kernel is a product for each line of its result (``lines``).
Steps are faster, too (``docs/performance.md``).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tezzeret_cli.worker import lines

TAPS = 9
"""Up to how many points a depthwise kernel along one dimension may have to be written out, point by point.
In two dimensions oneDNN's steps can be twice as fast."""

PLACES = 256
"""Up to how many places a depthwise result may have for the gradient of the weight to be a sum of windows."""

MULTIPLICATIONS = 1 << 21
"""Up to how many a row of the batch may take for a convolution to be a product for each line of its result.
Beyond, oneDNN's steps are up to 1.7 times as fast, since what the lines are laid out in leaves the cache."""

aten = torch.ops.aten


def decompositions(little: bool = True) -> dict[Any, Callable[..., Any]]:
    """For AOTAutograd's table. What they do not rewrite they leave, by ``NotImplemented``; so they do small
    convolutions, but for points and depthwise ones, where ``little`` is false."""
    return {
        aten.convolution.default: functools.partial(_forward, little),
        aten.convolution_backward.default: functools.partial(_backward, little),
    }


def _forward(
    little: bool,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    if transposed or not _is_usual(x, weight):
        return NotImplemented
    depthwise = _is_depthwise(x, weight, stride, groups)
    if depthwise and _is_short(weight):
        result = _taps(_padded(x, padding), weight, dilation)
    elif not depthwise and _is_point(weight, stride, padding):
        result = _image(_matrix(weight, groups) @ _columns(x, groups), x, groups)
    elif little and _is_little(x, weight, stride, padding, dilation, groups):
        found = lines.convolved(_as_image(x), _as_image(weight), _geometry(stride, padding, dilation))
        result = (found if x.dim() == 4 else found.squeeze(2)).contiguous()
    else:
        return NotImplemented
    return result if bias is None else result + bias.reshape(-1, *(1,) * (x.dim() - 2))


def _backward(
    little: bool,
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> Any:
    if transposed or not _is_usual(x, weight):
        return NotImplemented
    depthwise = _is_depthwise(x, weight, stride, groups)
    reach = [d * (k - 1) - p for d, k, p in zip(dilation, weight.shape[2:], padding, strict=True)]
    taps = depthwise and output_mask[0] and _is_short(weight) and min(reach) >= 0
    windows = depthwise and output_mask[1] and math.prod(grad.shape[2:]) <= PLACES
    grad_x = grad_weight = grad_bias = None
    if taps or windows:
        rest = [output_mask[0] and not taps, output_mask[1] and not windows, False]
        if any(rest):
            where = (stride, padding, dilation, transposed, output_padding, groups)
            grad_x, grad_weight, _ = aten.convolution_backward.default(grad, x, weight, None, *where, rest)
        if taps:
            grad_x = _taps(_padded(grad, reach), weight.flip(list(range(2, weight.dim()))), dilation)
        if windows:
            grad_weight = _correlated(_padded(x, padding), grad, dilation).reshape(weight.shape)
    elif not depthwise and _is_point(weight, stride, padding):
        columns = _columns(grad, groups)
        if output_mask[0]:
            grad_x = _image(_matrix(weight, groups).mT @ columns, x, groups)
        if output_mask[1]:
            products = columns @ _columns(x, groups).mT
            grad_weight = (products.sum(0) if groups == 1 else products).reshape(weight.shape)
    elif little and _is_little(x, weight, stride, padding, dilation, groups):
        of_images = _as_image(grad), _as_image(x), _as_image(weight), _geometry(stride, padding, dilation)
        if output_mask[0]:
            grad_x = lines.gradient_of_input(*of_images).reshape(x.shape)
        if output_mask[1]:
            grad_weight = lines.gradient_of_weight(*of_images).reshape(weight.shape)
    else:
        return NotImplemented
    if output_mask[2]:
        grad_bias = grad.sum([0, *range(2, x.dim())])
    return grad_x, grad_weight, grad_bias


def _is_usual(x: Tensor, weight: Tensor) -> bool:
    """For the CPU, in a precision to make sums in, and laid out so that eager's result is contiguous, too."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    channels_last = any(
        t.dim() in formats and not t.is_contiguous() and t.is_contiguous(memory_format=formats[t.dim()])
        for t in (x, weight)
    )
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and x.dim() >= 3
        and not channels_last
    )


def _is_point(weight: Tensor, stride: Sequence[int], padding: Sequence[int]) -> bool:
    return all(s == 1 for s in (*weight.shape[2:], *stride)) and not any(padding)


def _is_little(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> bool:
    """Whether it is one that ``lines`` can write, with few multiplications for a row of the batch."""
    if groups != 1 or x.dim() > 4 or not all(isinstance(size, int) for size in x.shape[2:]):
        return False
    if any(d > 1 for d in dilation[:-1]) or (stride[-1] > 1 and dilation[-1] > 1):
        return False
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if any(pad > most for pad, most in zip(padding, reach, strict=True)):
        return False
    sizes = zip(x.shape[2:], padding, reach, stride, strict=True)
    places = math.prod((size + 2 * pad - far - 1) // step + 1 for size, pad, far, step in sizes)
    return weight.numel() * places <= MULTIPLICATIONS


def _as_image(tensor: Tensor) -> Tensor:
    """A sequence is an image of one line."""
    return tensor if tensor.dim() == 4 else tensor.unsqueeze(2)


def _geometry(stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]) -> lines.Geometry:
    down, across = (1, *stride)[-2:]
    above, left = (0, *padding)[-2:]
    return lines.Geometry((down, across), (above, left), (above, left), dilation[-1])


def _is_depthwise(x: Tensor, weight: Tensor, stride: Sequence[int], groups: int) -> bool:
    return bool(x.shape[1] == groups == weight.shape[0] and groups > 1 and all(s == 1 for s in stride))


def _is_short(weight: Tensor) -> bool:
    """Whether its kernel is a few points in a row."""
    return weight.dim() == 3 and weight.shape[2] <= TAPS


def _matrix(weight: Tensor, groups: int) -> Tensor:
    """The weight of a point as a matrix, one for each of several groups."""
    if groups == 1:
        return weight.reshape(weight.shape[0], weight.shape[1])
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1])


def _columns(x: Tensor, groups: int) -> Tensor:
    """Channels by places: for each row of the batch, or for each of several groups with all rows' places side
    by side, which moves ``x`` and saves a copy of the weight for each row."""
    rows, places = x.shape[0], math.prod(x.shape[2:])
    if groups == 1:
        return x.reshape(rows, x.shape[1], places)
    channels = x.shape[1] // groups
    return x.reshape(rows, groups, channels, places).permute(1, 2, 0, 3).reshape(groups, channels, -1)


def _image(columns: Tensor, like: Tensor, groups: int) -> Tensor:
    """The reverse, at the places of ``like``."""
    rows, places = like.shape[0], like.shape[2:]
    if groups != 1:
        apart = columns.reshape(groups, columns.shape[1], rows, math.prod(places))
        columns = apart.permute(2, 0, 1, 3).contiguous()
    return columns.reshape(rows, -1, *places)


def _padded(x: Tensor, padding: Sequence[int]) -> Tensor:
    if not any(padding):
        return x
    return torch.constant_pad_nd(x, [amount for pad in reversed(padding) for amount in (pad, pad)])


def _parts(x: Tensor, kernel: Sequence[int], dilation: Sequence[int], places: Sequence[int]) -> list[Tensor]:
    """For each point of the kernel, what it meets of ``x``."""
    found = []
    for point in itertools.product(*map(range, kernel)):
        part = x
        for dim, (at, step, size) in enumerate(zip(point, dilation, places, strict=True), 2):
            part = part.narrow(dim, at * step, size)
        found.append(part)
    return found


def _correlated(x: Tensor, grad: Tensor, dilation: Sequence[int]) -> Tensor:
    """For each channel and point of the kernel, ``grad`` times what the point met of ``x``: one sum over a
    view of ``x`` with a window for each point."""
    spatial = x.dim() - 2
    windows = x
    for dim, step in enumerate(dilation, 2):
        windows = windows.unfold(dim, grad.shape[dim], step)
    apart = grad.reshape(*grad.shape[:2], *(1,) * spatial, *grad.shape[2:])
    return (windows * apart).sum([0, *range(2 + spatial, 2 + 2 * spatial)])


def _taps(x: Tensor, weight: Tensor, dilation: Sequence[int]) -> Tensor:
    kernel = weight.shape[2:]
    places = [s - d * (k - 1) for s, d, k in zip(x.shape[2:], dilation, kernel, strict=True)]
    shape = (-1, *(1,) * len(kernel))
    points = weight.reshape(weight.shape[0], math.prod(kernel)).unbind(1)
    products = [
        part * point.reshape(shape)
        for part, point in zip(_parts(x, kernel, dilation, places), points, strict=True)
    ]
    return sum(products[1:], products[0])
