"""Blueprints over graphs: node features ``[batch, nodes, width]`` and adjacency ``[batch, nodes, nodes]``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Params = dict[str, float]


class GraphAttentionLayer(nn.Module):
    """A node's new features are a mixture of its neighbours' and its own, weighted by attention.

    Source: Veličković et al., "Graph Attention Networks", 2018.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width, bias=False)
        self.source = nn.Linear(width, 1)
        self.target = nn.Linear(width, 1)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        values = self.project(nodes)
        scores = F.leaky_relu(self.target(values) + self.source(values).transpose(-2, -1), 0.2)
        count = nodes.shape[1]
        own = torch.eye(count, device=nodes.device, dtype=torch.bool)
        weights = torch.softmax(scores.masked_fill(~((adjacency > 0) | own), -1e9), dim=-1)
        return weights @ values


class GraphAttention(nn.Module):
    """``hops`` rounds, so that a node hears from nodes up to ``hops`` edges away."""

    def __init__(self, width: int, hops: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(GraphAttentionLayer(width) for _ in range(hops))

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        for layer in self.layers:
            nodes = nodes + F.elu(layer(nodes, adjacency))
        return nodes


def graph_attention(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    ring = torch.eye(16).roll(1, 0) + torch.eye(16).roll(-1, 0)
    return GraphAttention(32, int(params["hops"])), (torch.randn(8, 16, 32), ring.repeat(8, 1, 1))
