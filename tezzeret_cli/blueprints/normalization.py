"""Blueprints that normalise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Params = dict[str, float]
WIDTH = 64


def layer_norm_basic(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return nn.LayerNorm(WIDTH, eps=params["epsilon"]), (torch.randn(8, WIDTH),)


def batch_norm_1d(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """``momentum`` is the weight of the old running value; torch counts the weight of the new one."""
    return nn.BatchNorm1d(WIDTH, momentum=1 - params["momentum"]), (torch.randn(8, WIDTH),)
