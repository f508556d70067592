"""Somebody's own modules: each factory is a case that the loader has to serve like eager."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Params = dict[str, float]


def mlp(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    width = int(params.get("width", 16))
    return nn.Sequential(nn.Linear(16, width), nn.GELU(), nn.Linear(width, 16)), (torch.randn(8, 16),)


class Encoder(nn.Module):
    """Dropout, running statistics, a dict as return value, and an input handed through."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)
        self.norm = nn.BatchNorm1d(16)
        self.dropout = nn.Dropout(0.25)

    def forward(self, x: Tensor) -> dict[str, object]:
        y = self.dropout(F.relu(self.linear(x)))
        return {"hidden": y, "rest": [self.norm(y), x], "kind": "encoder"}


def encoder(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Encoder(), (torch.randn(8, 16),)


class Views(nn.Module):
    """Chunks that alias one another, a view of the input, and an integer output."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor, index: Tensor) -> tuple[Tensor, ...]:
        left, right = self.linear(x).chunk(2, -1)
        return left, right, x.flatten(1), index + 1


def views(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Views(), (torch.randn(6, 2, 8), torch.arange(6))


class TiedEmbedding(nn.Module):
    """Integer input, and one weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(32, 12)
        self.head = nn.Linear(12, 32, bias=False)
        self.head.weight = self.embed.weight
        self.frozen = nn.Parameter(torch.ones(12), requires_grad=False)
        self.register_buffer("offset", torch.zeros(12), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embed(tokens)) * self.frozen + self.offset)


def tied_embedding(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return TiedEmbedding(), (torch.randint(32, (4, 5)),)


class Counter(nn.Module):
    """Writes a buffer in place in both modes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("total", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.total += x.detach().sum(0)
        return x * self.weight


def counter(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Counter(), (torch.randn(4, 8),)


class Options(nn.Module):
    """Containers, constants and keyword arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, pair: tuple[Tensor, Tensor], scale: float, residual: bool = True) -> Tensor:
        a, b = pair
        y = self.linear(a) * scale
        return y + b if residual else y


def options(params: Params) -> tuple[nn.Module, tuple[object, ...]]:
    return Options(), ((torch.randn(3, 4), torch.randn(3, 4)), 2.0, True)


class DataDependent(nn.Module):
    """A branch on values: Dynamo cannot capture it whole."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) if float(x.sum()) > 0 else -self.linear(x)


def data_dependent(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return DataDependent(), (torch.randn(4, 4),)


class Overwriting(nn.Module):
    """Writes into its input, which autograd has to see."""

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2)
        return x + 1


def overwriting(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Overwriting(), (torch.randn(4, 4),)


def bad_factory(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    raise RuntimeError("this blueprint refuses to build")


class SavesView(nn.Module):
    """A linear map of sequences: what the backward needs is a view of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.linear(x))


def saves_view(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return SavesView(), (torch.randn(4, 6, 8),)


class SavesOutput(nn.Module):
    """Its backward needs an output, once as it is and once as a view."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.tanh(self.first(x)).reshape(-1, 8)
        return y, self.second(y)


def saves_output(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return SavesOutput(), (torch.randn(4, 3, 8),)


class LooksAtMask(nn.Module):
    """Asks an input for its shape and type, and never computes with it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.linear(x)
        if mask.dtype is torch.bool and mask.shape[1] > 4:
            return y * 2
        return y * 3


def looks_at_mask(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return LooksAtMask(), (torch.randn(3, 4), torch.ones(3, 8, dtype=torch.bool))


class TellsWidth(nn.Module):
    """Returns its input, and a size of it."""

    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return x, x.shape[-1]


def tells_width(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return TellsWidth(), (torch.randn(3, 4),)


class Ranks(nn.Module):
    """Nothing that it returns has a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return x.argsort(-1).argsort(-1)


def ranks(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Ranks(), (torch.randn(3, 4),)


class AsksForGradients(nn.Module):
    """Computes something else when no gradient is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return y * 2 if torch.is_grad_enabled() else y


def asks_for_gradients(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return AsksForGradients(), (torch.randn(3, 4),)


class Drawn(nn.Module):
    """What it computes was drawn when it was built."""

    def __init__(self) -> None:
        super().__init__()
        self.order = torch.randperm(8).tolist()
        self.sign = random.choice([-1.0, 1.0])
        self.scale = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.order] * self.scale * self.sign


def drawn(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Drawn(), (torch.randn(4, 8),)


class Switches(nn.Module):
    """Does more in ``train()`` than set the flag, and never looks at the flag."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4))
        self.scale = 1.0

    def train(self, mode: bool = True) -> Switches:
        self.scale = 1.0 if mode else 3.0
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x * self.weight) * self.scale


def switches(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Switches(), (torch.randn(3, 4),)


class Constant(nn.Module):
    """Its graphs hold a tensor of their own, which AOTInductor's container keeps for them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.tensor([[1.0, -2.0], [0.5, 3.0], [2.0, 1.0], [0.0, 1.5]]) * self.weight[:2]


def constant(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Constant(), (torch.randn(3, 4),)


class Convolved(nn.Module):
    """Convolutions that are rewritten, in whole or in part, and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.point = nn.Conv2d(4, 8, 1)
        self.grouped = nn.Conv2d(8, 8, 1, groups=2, bias=False)
        self.apart = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.little = nn.Conv2d(8, 6, 3, padding=1)
        self.halved = nn.Conv2d(6, 4, (3, 2), stride=(2, 1))
        self.whole = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.along = nn.Conv1d(4, 4, 3, padding=2, dilation=2)
        self.row = nn.Conv1d(4, 4, 5, padding=4, dilation=2, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.little(F.relu(self.apart(self.grouped(self.point(x)))))
        y = self.whole(F.relu(self.halved(y)))
        return self.row(self.along(y.flatten(2)))


def convolved(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Convolved(), (torch.randn(3, 4, 6, 5),)


class Detached(nn.Module):
    """Returns an output, and before and after it the same without its history."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.linear(x)
        before, after = hidden.detach(), hidden.detach()
        return {"before": before, "hidden": hidden, "size": hidden.pow(2).mean(), "after": after}


def detached(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Detached(), (torch.randn(4, 8),)


class Cancelling(nn.Module):
    """Gradients that are nothing but rounding: of a bias before a batch norm, and of an attention's keys."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=2)
        self.norm = nn.BatchNorm2d(16)
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.patches(x)).flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(self.query(y), self.key(y), self.value(y))


def cancelling(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Cancelling(), (torch.randn(3, 3, 32, 32),)


class Rotated(nn.Module):
    """Positions as turns of complex numbers, as in Llama's attention."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        angles = torch.outer(torch.arange(16.0), 0.1 ** torch.arange(4.0))
        self.register_buffer("turns", torch.polar(torch.ones_like(angles), angles), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        pairs = torch.view_as_complex(self.linear(x).unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * self.turns[: x.shape[1]]).flatten(-2)


def rotated(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Rotated(), (torch.randn(3, 6, 8),)


class Filtered(nn.Module):
    """A learned filter of frequencies."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.randn(9))

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x) * self.filter, n=16)


def filtered(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Filtered(), (torch.randn(3, 16),)


def bag(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return nn.EmbeddingBag(20, 8, mode="mean"), (torch.randint(20, (4, 5)),)


def recurrent(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return nn.LSTM(6, 8, batch_first=True), (torch.randn(3, 4, 6),)


class Squeezed(nn.Module):
    """Leaves out a batch of one."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).squeeze()


def squeezed(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Squeezed(), (torch.randn(8, 16),)


def sparse(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return nn.Embedding(20, 8, sparse=True), (torch.randint(20, (4, 5)),)


class NanSource(nn.Module):
    """Gives NaN for finite input."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(x - x.abs() - 1)


def nan_source(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return NanSource(), (torch.randn(3, 4),)
