"""The full check of one call against one variant's tensor guards, with the reason for a refusal.

It runs once for each new pattern of calls; ``variant.Pattern`` then recognises the pattern quickly.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from tezzeret_cli.model.manifest import Extent, Symbolic, TensorGuard
from tezzeret_cli.runtime import private


def level_of_caller() -> int:
    """For ``warnings.warn``: how far up the stack of who asks the first code is that is neither this
    package's nor torch's, so that the warning names the line that made the call."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1
    return level


_OURS = (__name__.partition(".")[0], "torch")


class TensorGuards:
    """The guards of one variant in the order in which its tensors are passed."""

    def __init__(self, guards: Sequence[TensorGuard], device: torch.device) -> None:
        self.guards = tuple(guards)
        self._device = device
        self._dtypes = [getattr(torch, guard.dtype) for guard in guards]
        self.sizes = [_fixed(guard.shape) for guard in guards]
        self.strides = [_fixed(guard.stride) for guard in guards]
        self._moving_sizes = [
            (position, dim, extent)
            for position, guard in enumerate(guards)
            for dim, extent in enumerate(guard.shape)
            if isinstance(extent, Symbolic)
        ]
        self._moving_strides = [
            (position, dim, extent)
            for position, guard in enumerate(guards)
            for dim, extent in enumerate(guard.stride)
            if isinstance(extent, Symbolic)
        ]
        self.single = self._single()

    def _single(self) -> tuple[int, int, int, int] | None:
        """(position, dimension, smallest, largest) when one plain size is all that moves."""
        if len(self._moving_sizes) == 1 and not self._moving_strides:
            position, dim, extent = self._moving_sizes[0]
            if extent.factor == 1:
                return position, dim, extent.min, extent.max
        return None

    def batch(self, tensors: Sequence[Tensor]) -> int:
        """The size that moves in tensors that passed, 0 where none does."""
        if not self._moving_sizes:
            return 0
        position, dim, extent = self._moving_sizes[0]
        return tensors[position].shape[dim] // extent.factor

    @property
    def moving(self) -> tuple[int, int, Symbolic] | None:
        """Position, dimension and range of the first size that moves, ``None`` where none does."""
        return self._moving_sizes[0] if self._moving_sizes else None

    @property
    def static(self) -> bool:
        return not self._moving_sizes and not self._moving_strides

    def refuse(self, tensors: Sequence[object]) -> str | None:
        """Why ``tensors`` are outside the guards, or ``None``."""
        for position, (guard, value) in enumerate(zip(self.guards, tensors, strict=True)):
            if not private.is_plain(value) or not isinstance(value, Tensor):
                return f"{guard.name} is not a plain tensor"
            refusal = self._refuse_one(position, guard, value)
            if refusal:
                return f"{guard.name} {refusal}"
        return self.refuse_moving([value for value in tensors if isinstance(value, Tensor)])

    def _refuse_one(self, position: int, guard: TensorGuard, value: Tensor) -> str | None:
        if value.dtype is not self._dtypes[position]:
            return f"is {value.dtype} instead of {self._dtypes[position]}"
        expected = self._device if guard.device == self._device.type else torch.device(guard.device)
        if value.device.type != expected.type or (
            expected.index is not None and value.device.index != expected.index
        ):
            return f"is on {value.device} instead of {expected}"
        if not _matches(value.shape, self.sizes[position]):
            return f"has shape {tuple(value.shape)} instead of {_text(guard.shape)}"
        if not _matches(value.stride(), self.strides[position]):
            return f"has strides {value.stride()} instead of {_text(guard.stride)}"
        if value.requires_grad and not guard.requires_grad:
            return "requires a gradient, which the bundle does not compute"
        return None

    def refuse_moving(self, tensors: Sequence[Tensor]) -> str | None:
        """Why the dynamic sizes are out of range or disagree, or ``None``."""
        values: dict[str, int] = {}
        for position, dim, extent in self._moving_sizes:
            value, rest = divmod(tensors[position].shape[dim], extent.factor)
            name = extent.symbols[0]
            if rest or not extent.min <= value <= extent.max:
                guard = self.guards[position]
                return (
                    f"{guard.name} has shape {tuple(tensors[position].shape)} instead of {_text(guard.shape)}"
                )
            if values.setdefault(name, value) != value:
                return f"{self.guards[position].name} has another batch size than the other inputs"
        for position, dim, extent in self._moving_strides:
            expected = extent.factor
            for name in extent.symbols:
                expected *= values[name]
            if tensors[position].stride(dim) != expected:
                return f"{self.guards[position].name} has strides {tensors[position].stride()}"
        return None


def _fixed(extents: Sequence[Extent]) -> tuple[int | None, ...]:
    return tuple(None if isinstance(extent, Symbolic) else extent for extent in extents)


def _matches(actual: Sequence[int], wanted: Sequence[int | None]) -> bool:
    if len(actual) != len(wanted):
        return False
    return all(want is None or have == want for have, want in zip(actual, wanted, strict=True))


def _text(extents: Sequence[Extent]) -> str:
    parts = []
    for extent in extents:
        if isinstance(extent, int):
            parts.append(str(extent))
        elif extent.max > extent.min:
            factor = f"{extent.factor}*" if extent.factor != 1 else ""
            parts.append(f"{factor}[{extent.min}..{extent.max}]")
        else:
            parts.append("*".join((str(extent.factor), *extent.symbols)))
    return f"({', '.join(parts)})"
