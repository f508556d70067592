"""Blueprints that reduce the resolution of images ``[batch, channels, height, width]``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Params = dict[str, float]
CHANNELS = 16


def pooling_max(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return nn.MaxPool2d(int(params["kernel"])), (torch.randn(8, CHANNELS, 20, 20),)


class AdaptivePool(nn.Module):
    """The mean over a fixed grid of cells, whatever the resolution, and a pointwise mix of channels."""

    def __init__(self, channels: int, output_size: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(output_size)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.pool(x))


def adaptive_pooling(params: Params) -> tuple[nn.Module, list[tuple[Tensor, ...]]]:
    block = AdaptivePool(CHANNELS, int(params["output_size"]))
    return block, [(torch.randn(4, CHANNELS, 32, 32),), (torch.randn(4, CHANNELS, 24, 24),)]
