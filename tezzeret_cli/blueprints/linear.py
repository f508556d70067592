"""Blueprints made of dense maps over feature vectors ``[batch, width]``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Params = dict[str, float]
WIDTH = 64


class ScaledLinear(nn.Module):
    """A dense map whose result is multiplied by ``scale``."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.projection = nn.Linear(width, width)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(x) * self.scale


def linear_projection(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return ScaledLinear(WIDTH, params["scale"]), (torch.randn(8, WIDTH),)


class ResidualUnit(nn.Module):
    """``x + W2 relu(W1 norm(x))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(F.relu(self.expand(self.norm(x))))


def residual_block(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    units = [ResidualUnit(WIDTH) for _ in range(int(params["depth"]))]
    return nn.Sequential(*units), (torch.randn(8, WIDTH),)


class ConcatFusion(nn.Module):
    """Parallel activated maps, concatenated and projected back to the input's width."""

    def __init__(self, width: int, branches: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Linear(width, width) for _ in range(branches))
        self.fuse = nn.Linear(width * branches, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(torch.cat([F.gelu(branch(x)) for branch in self.branches], dim=-1))


def concat_fusion(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return ConcatFusion(WIDTH, int(params["branches"])), (torch.randn(8, WIDTH),)


class Highway(nn.Module):
    """``t * h(x) + (1 - t) * x``: a learned gate ``t`` carries or transforms each feature.

    Source: Srivastava, Greff, Schmidhuber, "Highway Networks", 2015.
    """

    def __init__(self, width: int, gate_bias: float) -> None:
        super().__init__()
        self.transform = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        nn.init.constant_(self.gate.bias, gate_bias)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * F.relu(self.transform(x)) + (1 - gate) * x


def highway_gate(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Highway(WIDTH, params["gate_bias"]), (torch.randn(8, WIDTH),)


class GatedFeedForward(nn.Module):
    """``W_out (silu(W_gate x) * W_in x)``. Source: Shazeer, "GLU Variants Improve Transformer", 2020."""

    def __init__(self, width: int, multiple: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, width * multiple)
        self.up = nn.Linear(width, width * multiple)
        self.down = nn.Linear(width * multiple, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


def feedforward_gated(params: Params) -> tuple[nn.Module, list[tuple[Tensor, ...]]]:
    block = GatedFeedForward(WIDTH, int(params["hidden_multiple"]))
    return block, [(torch.randn(8, 16, WIDTH),), (torch.randn(8, WIDTH),)]


class DenseConnection(nn.Module):
    """Each layer sees the concatenation of the input and all earlier layers and adds ``growth`` features.

    Source: Huang et al., "Densely Connected Convolutional Networks", 2017.
    """

    def __init__(self, width: int, growth: int, layers: int = 3) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width + i * growth, growth) for i in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, F.relu(layer(x))], dim=-1)
        return x


def dense_connection(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return DenseConnection(WIDTH, int(params["growth_rate"])), (torch.randn(8, WIDTH),)
