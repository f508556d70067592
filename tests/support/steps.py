"""Training steps of modules that take and return tensors in containers."""

from __future__ import annotations

import torch
from torch import Tensor


def tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for item in value.values() for t in tensors(item)]
    if isinstance(value, list | tuple):
        return [t for item in value for t in tensors(item)]
    return []


def shape_of(value: object) -> object:
    """The value with its tensors left out."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(shape_of(item) for item in value)
    return "tensor" if isinstance(value, Tensor) else value


def fresh(args: object) -> object:
    if isinstance(args, Tensor):
        return args.clone().requires_grad_() if args.is_floating_point() else args.clone()
    if isinstance(args, tuple):
        return tuple(fresh(item) for item in args)
    return args


def loss(value: object) -> Tensor:
    return sum(
        (t * torch.linspace(-1, 1, t.numel(), device=t.device).view_as(t)).sum()
        for t in tensors(value)
        if t.requires_grad
    )
