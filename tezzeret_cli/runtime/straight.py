"""Calls that go straight to eager's module, without a look at the compiled code's guards: eager is right for
any input."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tezzeret_cli.runtime.eager import EagerModule
from tezzeret_cli.runtime.variant import RunnableVariant


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """Which calls of a module in one mode are eager's: all, or those of so many ``arguments`` in which the
    size of the ``argument``-th in dimension ``dim``, divided by ``factor``, is in one of the spans that
    ``bounds`` are the beginnings and ends of (an end is outside)."""

    bounds: tuple[int, ...] = ()
    arguments: int = 0
    argument: int = 0
    dim: int = 0
    factor: int = 1

    def leads(self, args: tuple[Any, ...]) -> bool:
        """Whether a call with ``args`` is one of them."""
        if not self.bounds:
            return True
        if len(args) != self.arguments:
            return False
        try:
            batch = args[self.argument].shape[self.dim] // self.factor
        except (AttributeError, IndexError):
            return False  # no tensor, or one of other dimensions
        return bisect.bisect(self.bounds, batch) % 2 == 1


EVERY_CALL = Route()


def route(variants: Sequence[RunnableVariant], training: bool) -> Route | None:
    """Which calls the bundle says are faster in eager, where that can be told by one size; ``None`` where
    there are none."""
    mine = [variant for variant in variants if variant.training in (None, training)]
    if mine and all(variant.eager_serves_all for variant in mine):
        return EVERY_CALL
    if len(mine) != 1 or not mine[0].flat or not mine[0].eager:
        return None
    (variant,) = mine
    moving = variant.guards.moving
    if moving is None or moving[0] >= len(variant.inputs):
        return None
    position, dim, extent = moving
    bounds = tuple(bound for span in variant.eager for bound in (span.min, span.max + 1))
    if list(bounds) != sorted(bounds):
        return None
    return Route(bounds, variant.count, variant.inputs[position], dim, extent.factor)


class Straight:
    """Eager's module and, by mode, which calls go straight to it; under ``no_grad`` only where ``always``.
    It is ``preferred`` where there is compiled code, too."""

    __slots__ = ("_always", "_eager", "_routes", "forward", "preferred")

    def __init__(
        self,
        eager: EagerModule,
        in_eval: Route | None,
        in_training: Route | None,
        *,
        always: bool,
        preferred: bool = True,
    ) -> None:
        self.forward = eager.forward
        self.preferred = preferred
        self._eager = eager
        self._routes = (in_eval, in_training)
        self._always = always

    def takes(self, module: nn.Module, args: tuple[Any, ...]) -> bool:
        """Whether ``forward`` serves a call of ``module`` with ``args`` at once."""
        route = self._routes[module.training]
        return (
            route is not None
            and (self._always or torch.is_grad_enabled())
            and (route is EVERY_CALL or route.leads(args))
            and self._eager.serves(module)
        )
