"""Blueprints that weight the channels or positions of images by what they see in them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Params = dict[str, float]
CHANNELS = 48


class SqueezeExcitation(nn.Module):
    """Source: Hu, Shen, Sun, "Squeeze-and-Excitation Networks", 2018."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return x * weights[:, :, None, None]


def squeeze_excitation(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return SqueezeExcitation(CHANNELS, int(params["reduction"])), (torch.randn(8, CHANNELS, 12, 12),)


class ChannelAttention(nn.Module):
    """Channels attend to channels: queries and keys are what each channel shows over all positions.

    The channels are split over ``heads``; within a head every channel is a mixture of the head's.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        parts = self.qkv(x).view(batch, 3, self.heads, channels // self.heads, height * width)
        query, key, value = parts.unbind(1)
        query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
        weights = torch.softmax(query @ key.transpose(-2, -1) * self.temperature, dim=-1)
        return x + self.project((weights @ value).reshape(batch, channels, height, width))


def channel_attention(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return ChannelAttention(CHANNELS, int(params["heads"])), (torch.randn(8, CHANNELS, 8, 8),)


class SpatialAttention(nn.Module):
    """A mask over positions from the mean and maximum over channels in a window of ``radius``.

    Source: Woo et al., "CBAM: Convolutional Block Attention Module", 2018.
    """

    def __init__(self, radius: int) -> None:
        super().__init__()
        self.mask = nn.Conv2d(2, 1, 2 * radius + 1, padding=radius)

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.mask(seen))


def spatial_attention(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return SpatialAttention(int(params["radius"])), (torch.randn(8, 16, 16, 16),)
