"""Blueprints of the experimental tier: routing, memory, integration, search and adaptation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tezzeret_cli.blueprints.attention import MultiHeadAttention

Params = dict[str, float]
WIDTH = 32


class MixtureOfExperts(nn.Module):
    """Each token goes to its two best experts; an expert takes no more than its slots of each sequence.

    ``slots = capacity * 2 * length / experts``. A token that finds no slot left passes by unchanged.
    Source: Lepikhin et al., "GShard", 2020.
    """

    def __init__(self, width: int, experts: int, capacity: float) -> None:
        super().__init__()
        self.experts = experts
        self.capacity = capacity
        self.router = nn.Linear(width, experts, bias=False)
        self.expand = nn.Parameter(torch.randn(experts, width, 2 * width) / math.sqrt(width))
        self.project = nn.Parameter(torch.randn(experts, 2 * width, width) / math.sqrt(2 * width))

    def slots(self, length: int) -> int:
        return max(1, int(self.capacity * 2 * length / self.experts))

    def forward(self, x: Tensor) -> Tensor:
        slots = self.slots(x.shape[1])
        weights = torch.softmax(self.router(x), dim=-1)
        best, chosen = weights.topk(2, dim=-1)
        index = torch.arange(self.experts, device=x.device)
        gates = (best / best.sum(-1, keepdim=True))[..., None] * (chosen[..., None] == index)
        gates = gates.sum(2)
        routed = gates > 0
        place = routed.long().cumsum(1) - 1
        seat = (place[..., None] == torch.arange(slots, device=x.device)) & routed[..., None]
        taken = seat.to(x.dtype)
        inputs = torch.einsum("btes,btd->besd", taken, x)
        hidden = F.gelu(torch.einsum("besd,edh->besh", inputs, self.expand))
        outputs = torch.einsum("besh,ehd->besd", hidden, self.project)
        return x + torch.einsum("btes,besd->btd", taken * gates[..., None], outputs)


def mixture_of_experts_4(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    block = MixtureOfExperts(WIDTH, int(params["experts"]), params["capacity"])
    return block, (torch.randn(4, 16, WIDTH),)


class HierarchicalAttention(nn.Module):
    """Attention at full length and at halved resolutions, brought back to full length and added up."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.levels = nn.ModuleList(MultiHeadAttention(width, 4) for _ in range(levels))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        total = x
        for level, attention in enumerate(self.levels):
            step = 2**level
            coarse = normed.unflatten(1, (-1, step)).mean(2)
            total = total + attention(coarse).repeat_interleave(step, 1)
        return total


def hierarchical_attention(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return HierarchicalAttention(WIDTH, int(params["levels"])), (torch.randn(4, 32, WIDTH),)


class MemoryAugmented(nn.Module):
    """Writes a sequence into slots chosen by content, then reads from them by content.

    The learned memory is where every example starts from. Source: Graves, Wayne, Danihelka, "Neural
    Turing Machines", 2014.
    """

    def __init__(self, width: int, slots: int) -> None:
        super().__init__()
        self.memory = nn.Parameter(torch.randn(slots, width) / math.sqrt(width))
        self.write_key = nn.Linear(width, width)
        self.write_value = nn.Linear(width, width)
        self.erase = nn.Linear(width, width)
        self.read_key = nn.Linear(width, width)
        self.project = nn.Linear(2 * width, width)

    def _address(self, keys: Tensor, memory: Tensor) -> Tensor:
        return torch.softmax(keys @ memory.transpose(-2, -1) / math.sqrt(keys.shape[-1]), dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        where = self._address(self.write_key(x), self.memory).transpose(-2, -1) / x.shape[1]
        kept = self.memory * (1 - where @ torch.sigmoid(self.erase(x)))
        memory = kept + where @ self.write_value(x)
        read = self._address(self.read_key(x), memory) @ memory
        return x + self.project(torch.cat([x, read], dim=-1))


def memory_augmented(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return MemoryAugmented(WIDTH, int(params["memory_slots"])), (torch.randn(4, 16, WIDTH),)


class NeuralOde(nn.Module):
    """Integrates ``dx/dt = f(x, t)`` from 0 to 1 by the classical Runge-Kutta method in ``steps`` steps.

    Source: Chen et al., "Neural Ordinary Differential Equations", 2018.
    """

    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.hidden = nn.Linear(width + 1, 2 * width)
        self.project = nn.Linear(2 * width, width)

    def field(self, x: Tensor, time: float) -> Tensor:
        return self.project(torch.tanh(self.hidden(F.pad(x, (0, 1), value=time))))

    def forward(self, x: Tensor) -> Tensor:
        step = 1 / self.steps
        for number in range(self.steps):
            time = number * step
            k1 = self.field(x, time)
            k2 = self.field(x + step / 2 * k1, time + step / 2)
            k3 = self.field(x + step / 2 * k2, time + step / 2)
            k4 = self.field(x + step * k3, time + step)
            x = x + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return x


def neural_ode_block(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return NeuralOde(WIDTH, int(params["steps"])), (torch.randn(8, WIDTH),)


class DifferentiableNas(nn.Module):
    """Candidate operations mixed by a softmax of learned scores; a low temperature picks one.

    Source: Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", 2019.
    """

    def __init__(self, width: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.scores = nn.Parameter(1e-3 * torch.randn(5))
        self.relu = nn.Linear(width, width)
        self.tanh = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def candidates(self, x: Tensor) -> list[Tensor]:
        return [torch.zeros_like(x), x, F.relu(self.relu(x)), torch.tanh(self.tanh(x)), self.norm(x)]

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.scores / self.temperature, dim=0)
        return (torch.stack(self.candidates(x), dim=-1) * weights).sum(-1)


def differentiable_nas(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return DifferentiableNas(WIDTH, params["temperature"]), (torch.randn(8, WIDTH),)


class MetaLearning(nn.Module):
    """Adapts a copy of its weights to each example before using it.

    The inner loss is the mean squared error of reconstructing the example's own tokens through the fast
    weights; its gradient is written out, so the outer gradient goes through every inner step. Source:
    Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning", 2017.
    """

    def __init__(self, width: int, adapt_steps: int) -> None:
        super().__init__()
        self.adapt_steps = adapt_steps
        self.slow = nn.Parameter(torch.randn(width, width) / math.sqrt(width))
        self.rate = nn.Parameter(torch.tensor(-1.0))
        self.project = nn.Linear(width, width)

    def inner_loss(self, x: Tensor, fast: Tensor) -> Tensor:
        """One number per example."""
        return (x @ fast - x).square().mean((1, 2))

    def adapt(self, x: Tensor) -> Tensor:
        """The fast weights of each example after all inner steps: ``[batch, width, width]``."""
        fast = self.slow.expand(x.shape[0], -1, -1)
        rate = F.softplus(self.rate)
        for _ in range(self.adapt_steps):
            gradient = x.transpose(1, 2) @ (x @ fast - x) * (2 / x.shape[1])
            fast = fast - rate / x.shape[2] * gradient
        return fast

    def forward(self, x: Tensor) -> Tensor:
        return self.project(F.gelu(x @ self.adapt(x)))


def meta_learning_layer(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return MetaLearning(WIDTH, int(params["adapt_steps"])), (torch.randn(4, 16, WIDTH),)


class Recursive(nn.Module):
    """One gated cell applied ``depth`` times to its own result and the original input."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.gate = nn.Linear(2 * width, width)
        self.update = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        state = x
        for _ in range(self.depth):
            both = torch.cat([state, x], dim=-1)
            gate = torch.sigmoid(self.gate(both))
            state = gate * state + (1 - gate) * torch.tanh(self.update(both))
        return state


def recursive_processing(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Recursive(WIDTH, int(params["depth"])), (torch.randn(8, WIDTH),)
