"""Deliberate stressors: building one is harmless, running it is not."""

from __future__ import annotations

import threading
import time

import torch
from torch import Tensor, nn

Params = dict[str, float]
WIDTH = 64
_MIB = 1 << 20


class Exploding(nn.Module):
    """Multiplies by ``scale`` in each of its layers: values and gradients grow until they overflow."""

    LAYERS = 32

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.LAYERS):
            x = x * self.weight * self.scale
        return x


def exploding_gradient(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Exploding(WIDTH, params["scale"]), (torch.randn(8, WIDTH),)


class Vanishing(nn.Module):
    """Keeps a ``decay`` part of the signal in each of its saturating layers."""

    LAYERS = 16

    def __init__(self, width: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.mix = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.LAYERS):
            x = torch.tanh(self.mix(x)) * self.decay
        return x


def vanishing_gradient(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Vanishing(WIDTH, params["decay"]), (torch.randn(8, WIDTH),)


class NanInjection(nn.Module):
    """Turns every ``1 / frequency``-th element into NaN, counted over the whole batch."""

    def __init__(self, width: int, frequency: float) -> None:
        super().__init__()
        self.period = max(1, round(1 / frequency))
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.arange(x.shape[0], device=x.device)[:, None] * x.shape[1]
        place = rows + torch.arange(x.shape[1], device=x.device)
        return torch.where(place % self.period == 0, float("nan"), x * self.weight)


def nan_injection(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return NanInjection(WIDTH, params["frequency"]), (torch.randn(8, WIDTH),)


class InfiniteLoop(nn.Module):
    """Looks again, ``iterations`` times a round, whether a sum of squares has become negative."""

    def __init__(self, width: int, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        energy = (x * self.weight).square().sum()
        while not bool(energy < 0):
            for _ in range(self.iterations):
                energy = energy * 1.0
        return x * energy


def infinite_loop(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return InfiniteLoop(WIDTH, int(params["iterations"])), (torch.randn(8, WIDTH),)


class MemoryLeak(nn.Module):
    """Keeps ``growth_rate`` MiB more alive at every call."""

    def __init__(self, width: int, growth_rate: float) -> None:
        super().__init__()
        self.growth = int(growth_rate * _MIB) // 4
        self.kept: list[Tensor] = []
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        self.kept.append(torch.ones(self.growth))
        return x * self.weight + len(self.kept)


def memory_leak(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return MemoryLeak(WIDTH, params["growth_rate"]), (torch.randn(8, WIDTH),)


class Deadlock(nn.Module):
    """Half of its threads hold one lock and want the other, half the other way round."""

    def __init__(self, width: int, threads: int) -> None:
        super().__init__()
        self.threads = threads
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        locks = (threading.Lock(), threading.Lock())
        both_held = threading.Barrier(2)
        first = [threading.Event(), threading.Event()]

        def work(number: int) -> None:
            mine, other = locks[number % 2], locks[1 - number % 2]
            with mine:
                if not first[number % 2].is_set():
                    first[number % 2].set()
                    both_held.wait()
                with other:
                    return

        workers = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(self.threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return x * self.weight


def deadlock_pattern(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Deadlock(WIDTH, int(params["threads"])), (torch.randn(8, WIDTH),)


class RaceCondition(nn.Module):
    """Threads read a shared sum, wait ``window_ns`` nanoseconds and write it back: updates get lost."""

    THREADS = 4
    ROUNDS = 8

    def __init__(self, width: int, window_ns: int) -> None:
        super().__init__()
        self.window_ns = window_ns
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        shared = torch.zeros(1)

        def work() -> None:
            for _ in range(self.ROUNDS):
                seen = shared.item()
                until = time.perf_counter_ns() + self.window_ns
                while time.perf_counter_ns() < until:
                    time.sleep(0)
                shared.fill_(seen + 1)

        workers = [threading.Thread(target=work) for _ in range(self.THREADS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return x * self.weight + shared


def race_condition(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return RaceCondition(WIDTH, int(params["window_ns"])), (torch.randn(8, WIDTH),)


class AdversarialNoise(nn.Module):
    """Perturbs its input by ``epsilon`` along the sign of what its own output is most sensitive to.

    Source: Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", 2015.
    """

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.map = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        sensitivity = self.map(x) @ self.map.weight
        return self.map(x + self.epsilon * sensitivity.sign())


def adversarial_noise(params: Params) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return AdversarialNoise(WIDTH, params["epsilon"]), (torch.randn(8, WIDTH),)
