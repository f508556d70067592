"""Blueprints that act on each element or channel by itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Params = dict[str, float]
WIDTH = 64


def identity_passthrough(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return nn.Identity(), (torch.randn(8, WIDTH),)


def relu_activation(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return nn.ReLU(), (torch.randn(8, WIDTH),)


def gelu_activation(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return nn.GELU(), (torch.randn(8, WIDTH),)


def dropout_light(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return nn.Dropout(params["dropout"]), (torch.randn(8, WIDTH),)


class LayerScale(nn.Module):
    """A learned factor per channel, all starting at ``scale``."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


def layer_scaling(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return LayerScale(WIDTH, params["scale"]), (torch.randn(8, WIDTH),)


class Skip(nn.Module):
    """``x + f(x)`` with a learned, activated map ``f``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.inner(x))


def skip_connection(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Skip(WIDTH), (torch.randn(8, WIDTH),)
