"""Blueprints that attend over sequences ``[batch, length, width]`` or over positions of images."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Params = dict[str, float]
WIDTH = 64


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention; keys and values come from ``context``, by default the input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        source = x if context is None else context
        query, key, value = (self._split(y) for y in (self.query(x), self.key(source), self.value(source)))
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        mixed = torch.softmax(scores, dim=-1) @ value
        return self.project(mixed.transpose(1, 2).flatten(2))


def multi_head_attention_4(params: Params) -> tuple[nn.Module, list[tuple[Tensor, ...]]]:
    block = MultiHeadAttention(120, int(params["heads"]))
    return block, [(torch.randn(8, 16, 120),), (torch.randn(8, 32, 120),)]


def multi_head_attention_8(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return MultiHeadAttention(360, int(params["heads"])), (torch.randn(4, 16, 360),)


class CrossAttention(nn.Module):
    """``x + attention(norm(x), norm(context))``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.context_norm = nn.LayerNorm(width)
        self.attention = MultiHeadAttention(width, heads)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        return x + self.attention(self.norm(x), self.context_norm(context))


def cross_attention(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return CrossAttention(96, int(params["heads"])), (torch.randn(8, 12, 96), torch.randn(8, 20, 96))


class SingleHeadAttention(nn.Module):
    """Self-attention with a learned score for every pair of positions added to the content's score."""

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.position = nn.Parameter(torch.zeros(length, length))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1]) + self.position
        return torch.softmax(scores, dim=-1) @ value


def attention_single_head(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    length = int(params["sequence_length"])
    return SingleHeadAttention(32, length), (torch.randn(4, length, 32),)


class EncoderLayer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = MultiHeadAttention(width, heads)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed(self.feed_norm(x))


def transformer_block(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    layers = [EncoderLayer(WIDTH, 4) for _ in range(int(params["layers"]))]
    return nn.Sequential(*layers), (torch.randn(8, 12, WIDTH),)


class ConvTransformer(nn.Module):
    """A depthwise convolution over time for what is near, attention for what is far."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.pad = ((kernel - 1) // 2, kernel // 2)
        self.local = nn.Conv1d(width, width, kernel, groups=width)
        self.encoder = EncoderLayer(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        near = self.local(F.pad(x.transpose(1, 2), self.pad)).transpose(1, 2)
        return self.encoder(x + F.silu(near))


def conv_transformer(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return ConvTransformer(WIDTH, int(params["kernel"])), (torch.randn(8, 24, WIDTH),)


class NonLocal(nn.Module):
    """Every position of a window attends to every other one of it.

    The image is padded to whole windows; padded positions are not attended to. Source: Wang et al.,
    "Non-local Neural Networks", 2018, over windows as in Liu et al., "Swin Transformer", 2021.
    """

    hidden: Tensor

    def __init__(self, channels: int, window: int, size: int) -> None:
        super().__init__()
        self.window = window
        self.pad = -size % window
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)
        inside = F.pad(torch.ones(1, 1, size, size), (0, self.pad, 0, self.pad))
        mask = self._windows(inside).squeeze(-1)
        self.register_buffer("hidden", torch.where(mask > 0, 0.0, -1e9)[:, :, None, :], persistent=False)

    def _windows(self, x: Tensor) -> Tensor:
        """``[batch, windows, positions, channels]``."""
        split = x.unflatten(3, (-1, self.window)).unflatten(2, (-1, self.window))
        return split.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-1]
        padded = F.pad(x, (0, self.pad, 0, self.pad))
        query, key, value = self._windows(self.qkv(padded)).chunk(3, dim=-1)
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1]) + self.hidden
        mixed = torch.softmax(scores, dim=-1) @ value
        count = padded.shape[-1] // self.window
        grid = mixed.unflatten(2, (self.window, self.window)).unflatten(1, (count, count))
        image = grid.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
        return x + self.project(image[:, :, :size, :size])


def non_local_block(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return NonLocal(16, int(params["window"]), 16), (torch.randn(4, 16, 16, 16),)


class LearnedPositional(nn.Module):
    """Adds a learned mixture of sines and cosines whose base frequency is ``frequency`` per position."""

    waves: Tensor

    def __init__(self, width: int, length: int, frequency: float) -> None:
        super().__init__()
        octaves = width // 2
        angles = torch.arange(length)[:, None] * frequency * 2.0 ** -torch.arange(octaves).div(4)
        self.register_buffer("waves", torch.cat([angles.sin(), angles.cos()], dim=-1), persistent=False)
        self.mix = nn.Linear(2 * octaves, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(self.waves)


def learned_positional(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return LearnedPositional(WIDTH, 24, params["frequency"]), (torch.randn(8, 24, WIDTH),)
