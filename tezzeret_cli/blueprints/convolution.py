"""Blueprints that convolve images ``[batch, channels, height, width]`` or sequences ``[batch, channels,
time]``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Params = dict[str, float]


def grouped_conv(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """840 channels divide by every group count from 2 to 8."""
    conv = nn.Conv2d(840, 840, 1, groups=int(params["groups"]))
    return conv, (torch.randn(2, 840, 4, 4),)


def depthwise_separable(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    kernel = int(params["kernel"])
    block = nn.Sequential(
        nn.ZeroPad2d(((kernel - 1) // 2, kernel // 2, (kernel - 1) // 2, kernel // 2)),
        nn.Conv2d(16, 16, kernel, groups=16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 1),
    )
    return block, (torch.randn(8, 16, 16, 16),)


class DynamicConv(nn.Module):
    """A kernel per example, mixed from ``experts`` by attention over the example's global average.

    Source: Chen et al., "Dynamic Convolution: Attention over Convolution Kernels", 2020.
    """

    def __init__(self, channels: int, experts: int) -> None:
        super().__init__()
        self.router = nn.Linear(channels, experts)
        self.kernels = nn.Parameter(torch.randn(experts, channels, channels * 9) / (3 * channels**0.5))

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.router(x.mean((2, 3))), dim=-1)
        kernels = torch.einsum("be,eok->bok", weights, self.kernels)
        patches = F.unfold(x, 3, padding=1)
        return (kernels @ patches).view_as(x)


def dynamic_conv(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return DynamicConv(16, int(params["experts"])), (torch.randn(8, 16, 12, 12),)


class TemporalConv(nn.Module):
    """Causal, dilated convolution: a step sees itself and the past only.

    Source: Bai, Kolter, Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent
    Networks for Sequence Modeling", 2018.
    """

    def __init__(self, channels: int, dilation: int, kernel: int = 3) -> None:
        super().__init__()
        self.past = dilation * (kernel - 1)
        self.first = nn.Conv1d(channels, channels, kernel, dilation=dilation)
        self.second = nn.Conv1d(channels, channels, kernel, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first(F.pad(x, (self.past, 0))))
        return F.relu(x + self.second(F.pad(y, (self.past, 0))))


def temporal_conv(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return TemporalConv(32, int(params["dilation"])), (torch.randn(8, 32, 48),)


def dilated_conv(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    dilation = int(params["dilation"])
    block = nn.Sequential(nn.Conv2d(16, 16, 3, padding=dilation, dilation=dilation), nn.ReLU())
    return block, (torch.randn(8, 16, 20, 20),)


class DeformableConv(nn.Module):
    """Every tap of a 3×3 kernel is sampled, bilinearly, at a learned offset from its place.

    The channels are split into ``offset_groups``, each with an offset field of its own; outside the
    image is zero. Source: Dai et al., "Deformable Convolutional Networks", 2017.
    """

    TAPS = 9
    taps: Tensor

    def __init__(self, channels: int, offset_groups: int) -> None:
        super().__init__()
        self.groups = offset_groups
        self.offsets = nn.Conv2d(channels, 2 * self.TAPS * offset_groups, 3, padding=1, bias=False)
        nn.init.normal_(self.offsets.weight, std=0.01)
        self.weight = nn.Parameter(torch.randn(channels, channels, self.TAPS) / (3 * channels**0.5))
        steps = torch.arange(-1.0, 2.0)
        self.register_buffer("taps", torch.cartesian_prod(steps, steps), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels, height, width = x.shape[1:]
        offsets = self.offsets(x).view(-1, self.groups, self.TAPS, 2, height, width)
        rows = torch.arange(height, device=x.device, dtype=x.dtype)[:, None]
        columns = torch.arange(width, device=x.device, dtype=x.dtype)
        y = offsets[:, :, :, 0] + self.taps[:, 0, None, None] + rows
        x_at = offsets[:, :, :, 1] + self.taps[:, 1, None, None] + columns
        sampled = self._sample(x.unflatten(1, (self.groups, -1)), y, x_at)
        columns_of_taps = sampled.reshape(-1, channels, self.TAPS, height * width).flatten(1, 2)
        return (self.weight.flatten(1) @ columns_of_taps).unflatten(2, (height, width))

    @staticmethod
    def _sample(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """``image [B, G, C, H, W]`` at ``y, x [B, G, T, H, W]`` in pixels: ``[B, G, C, T, H, W]``.

        Each of the four neighbours of a place has two numbers along each axis: where it is, and its share.
        """
        height, width = image.shape[-2:]
        row, row_share = _neighbours(y, height)
        column, column_share = _neighbours(x, width)
        index = row.unsqueeze(4) * width + column.unsqueeze(3)
        share = row_share.unsqueeze(4) * column_share.unsqueeze(3)
        places = index.flatten(2)[:, :, None].expand(-1, -1, image.shape[2], -1)
        picked = image.flatten(-2).gather(-1, places).unflatten(-1, index.shape[2:])
        return (picked * share[:, :, None]).sum((4, 5))


def _neighbours(at: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The whole numbers below and above each of ``at [B, G, T, H, W]``, kept within an axis of ``size``, and
    their shares, zero outside: ``[B, G, T, 2, H, W]``."""
    both = at.floor().unsqueeze(3) + torch.arange(2, device=at.device)[:, None, None]
    share = 1 - (at.unsqueeze(3) - both).abs()
    inside = (both >= 0) & (both < size)
    return both.clamp(0, size - 1).long(), share * inside


def deformable_conv(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """24 channels divide by every group count from 1 to 4."""
    return DeformableConv(24, int(params["offset_groups"])), (torch.randn(4, 24, 10, 10),)


class FeaturePyramid(nn.Module):
    """Halves the resolution ``levels - 1`` times, then merges from coarse to fine.

    Returns one map per level, the finest first. Source: Lin et al., "Feature Pyramid Networks for
    Object Detection", 2017.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in range(levels - 1)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(levels))
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(levels))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = [x]
        for down in self.down:
            maps.append(F.relu(down(maps[-1])))
        merged = [self.lateral[-1](maps[-1])]
        for lateral, fine in zip(reversed(list(self.lateral)[:-1]), reversed(maps[:-1]), strict=True):
            coarse = merged[0].repeat_interleave(2, -2).repeat_interleave(2, -1)
            merged.insert(0, lateral(fine) + coarse)
        return tuple(smooth(level) for smooth, level in zip(self.smooth, merged, strict=True))


def feature_pyramid(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return FeaturePyramid(12, int(params["levels"])), (torch.randn(4, 12, 32, 32),)
