"""What a gradient may be off by because eager's own is not known any better."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tezzeret_cli.worker import reference
from tezzeret_cli.worker.subject import Subject, flatten_arguments

CPU = torch.device("cpu")
TOLERANCE = 1e-4


def rounding(module: nn.Module, *args: Tensor) -> tuple[dict[str, float], reference.Values]:
    subject = Subject.of(module)
    tree, tensors = flatten_arguments(args, subject.names)
    before = subject.initial_state()
    values = reference.eager_step(subject, tree, tensors, training=True, device=CPU)
    found = reference.rounding(subject, tree, tensors, values, TOLERANCE, training=True, device=CPU)
    after = subject.initial_state()
    assert all(torch.equal(before[name], after[name]) for name in before)
    return found, values


def test_a_gradient_that_cancels_may_be_off_by_more_than_its_size():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    found, values = rounding(module, torch.randn(4, 3, 16, 16))
    bias = values.gradients["0.bias"].abs().max()
    assert found["gradient/0.bias"] > bias / 2
    assert found["gradient/0.bias"] < TOLERANCE * values.gradients["0.weight"].abs().max()


def test_one_that_does_not_may_not():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))
    found, values = rounding(module, torch.randn(4, 8))
    for name, gradient in values.gradients.items():
        assert found.get(f"gradient/{name}", 0.0) < TOLERANCE * gradient.abs().max()


class Jumps(nn.Module):
    """A last bit of the weight decides which way the gradient goes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(self.weight == 1, self.scale * x, -self.scale * x) + self.weight


def test_what_jumps_is_not_forgiven():
    found, values = rounding(Jumps(), torch.ones(4))
    largest = max(float(gradient.abs().max()) for gradient in values.gradients.values())
    assert found["gradient/scale"] == pytest.approx(TOLERANCE * largest)


class Strict(nn.Module):
    """Refuses a mask that is not one."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if not bool(((mask == 0) | (mask == 1)).all()):
            raise ValueError("not a mask")
        return x * mask


def test_a_module_that_refuses_such_arguments_gets_nothing():
    found, _ = rounding(Strict(), torch.randn(4), torch.ones(4))
    assert found == {}
