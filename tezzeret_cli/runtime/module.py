"""The ``nn.Module`` that ``load`` returns."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tezzeret_cli.errors import EagerUnavailableError, GuardMissError
from tezzeret_cli.model.manifest import Manifest, TensorSlot
from tezzeret_cli.runtime import private
from tezzeret_cli.runtime.arguments import flatten, positional
from tezzeret_cli.runtime.eager import EagerModule
from tezzeret_cli.runtime.guards import level_of_caller
from tezzeret_cli.runtime.layout import Layout, Node, lookup
from tezzeret_cli.runtime.straight import EVERY_CALL, Straight, route
from tezzeret_cli.runtime.variant import RunnableVariant

OnGuardMiss = Literal["eager", "raise"]
Prefer = Literal["faster", "compiled", "eager"]

CALLS_BEFORE_EAGER = 256
"""So many calls that eager would serve faster are served compiled first. Eager's module has to be imported
and built, which takes as long as they lose together; a process that makes only a few steps never needs
it."""

_PATTERNS_KEPT = 8


class GuardMissWarning(UserWarning):
    """A call was served by eager code because it was outside what the bundle was compiled for."""


class Program:
    """What the instances of one loaded bundle share. Copying a module does not copy it."""

    def __init__(
        self,
        manifest: Manifest,
        variants: Sequence[RunnableVariant],
        device: torch.device,
        on_guard_miss: OnGuardMiss,
        allow_factories: Sequence[str],
        prefer: Prefer,
    ) -> None:
        self.manifest = manifest
        self.variants = tuple(variants)
        self.device = device
        self.on_guard_miss = on_guard_miss
        self.prefer = prefer
        self._allow_factories = tuple(allow_factories)

    def make_eager(self) -> EagerModule:
        return EagerModule(self.manifest, self._allow_factories)

    def straight_to(self, eager: EagerModule) -> Straight | None:
        """The calls that go to ``eager`` without a look at the guards: none where a guard miss must raise."""
        if self.manifest.eager_fallback:
            return Straight(eager, EVERY_CALL, EVERY_CALL, always=True, preferred=False)
        if self.on_guard_miss == "raise" or self.prefer == "compiled":
            return None
        if self.prefer == "eager":
            return Straight(eager, EVERY_CALL, EVERY_CALL, always=True)
        return Straight(eager, route(self.variants, False), route(self.variants, True), always=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        return self


class BundleModule(nn.Module):
    """A blueprint whose forward and backward were compiled ahead of time.

    Parameters, buffers and submodules have eager's names. ``tezzeret`` tells about the bundle and
    counts guard misses. The module can be trained, copied and used from several threads like any other.
    """

    def __init__(self, program: Program, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        nodes: dict[str, nn.Module] = {"": self}
        for name in program.manifest.modules:
            parent, _, key = name.rpartition(".")
            nodes[name] = Node()
            nodes[parent].add_module(key, nodes[name])
        made: dict[str, Tensor] = {}
        for slot in program.manifest.slots:
            if slot.alias_of is None:
                made[slot.name] = _own(tensors[slot.name], slot, program.device)
            tensor = made[slot.alias_of or slot.name]
            parent, _, key = slot.name.rpartition(".")
            holder = nodes[parent]
            if slot.is_parameter:
                assert isinstance(tensor, nn.Parameter)
                holder.register_parameter(key, tensor)
            else:
                holder.register_buffer(key, tensor, persistent=slot.persistent)
        self._tezzeret = Binding(program)

    @property
    def tezzeret(self) -> Binding:
        """The bundle behind this instance, and how its calls were served."""
        return self._tezzeret

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._tezzeret(self, args, kwargs)

    forward._torchdynamo_disable = True  # type: ignore[attr-defined]

    def extra_repr(self) -> str:
        manifest = self._tezzeret.manifest
        return f"{manifest.blueprint_id} {manifest.version}"


def _own(tensor: Tensor, slot: TensorSlot, device: torch.device) -> Tensor:
    if slot.stride is None:
        owned = tensor.to(device)
    else:
        owned = torch.empty_strided(tensor.shape, slot.stride, dtype=tensor.dtype, device=device)
        owned.copy_(tensor)
    if slot.is_parameter:
        return nn.Parameter(owned, requires_grad=slot.requires_grad)
    return owned.requires_grad_(slot.requires_grad)


class _Pattern:
    """Calls like one that passed the full check; recognised in about a microsecond. ``undecided`` says that
    eager may be preferred for some of them."""

    __slots__ = ("check", "grad", "undecided", "variant")

    def __init__(self, variant: RunnableVariant, tensors: Sequence[Tensor], prefer: Prefer) -> None:
        self.variant = variant
        self.undecided = prefer == "eager" or (prefer == "faster" and bool(variant.eager))
        self.grad = any(tensor.requires_grad for tensor in tensors)
        guards = variant.guards
        self.check: Callable[..., bool] = private.tensor_check(tensors, guards.sizes, guards.strides)


class Binding:
    """Connects one module instance with its program. Not shared and not copied: a copy starts afresh.

    ``guard_misses`` counts calls outside the guards, ``eager_calls`` those that eager served for want of
    anything else (all calls of a fallback bundle), ``last_miss`` says why the last miss was one.
    ``preferred_eager_calls`` counts those that eager served since it is preferred, ``eager_unavailable`` says
    why it cannot, once that was tried. Calls outside the guards may be among the former: where eager is
    preferred for a call's mode or batch, nobody looks at the rest of it.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.guard_misses = 0
        self.eager_calls = 0
        self.last_miss: str | None = None
        self.preferred_eager_calls = 0
        self.eager_unavailable: str | None = None
        self._awaited = CALLS_BEFORE_EAGER
        self._warned = False
        self._patterns: tuple[_Pattern, ...] = ()
        self._layout: Layout | None = None
        self._eager: EagerModule | None = None
        self._straight: Straight | None = None
        self._making = threading.Lock()

    @property
    def manifest(self) -> Manifest:
        return self.program.manifest

    def __repr__(self) -> str:
        counts = f"{self.guard_misses} guard misses, {self.eager_calls} eager calls"
        return f"<{self.manifest.blueprint_id}: {counts}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Binding:
        return Binding(self.program)

    def __reduce__(self) -> Any:
        raise TypeError("a bundle module cannot be pickled; save its state_dict and load the bundle again")

    def __call__(self, module: BundleModule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        straight = self._straight
        if straight is not None and straight.takes(module, args):
            if straight.preferred:
                self.preferred_eager_calls += 1
            else:
                self.eager_calls += 1
            return straight.forward(*args, **kwargs)
        layout = self._layout
        if layout is None or layout.module is not module:
            layout = self._layout = Layout(module, self.program.manifest)
        slots = layout.tensors()
        if slots is not None and not kwargs and not private.function_modes():
            training = module.training
            for pattern in self._patterns:
                variant = pattern.variant
                if variant.training is not None and not (
                    variant.training is training and layout.mode_is(training)
                ):
                    continue
                inputs = args if variant.flat else flatten(variant.arguments, args)
                if isinstance(inputs, str) or (variant.flat and len(inputs) != variant.count):
                    continue
                tensors = variant.select(inputs, slots)
                if pattern.check(*tensors) and _still_good(variant, tensors):
                    grad = pattern.grad and torch.is_grad_enabled()
                    if pattern.undecided and self._eager_preferred(variant, tensors, grad):
                        return self._run_preferred(module, layout, slots, args, kwargs)
                    return variant.run(tensors, inputs, slots, grad)
        return self._slow(module, layout, slots, args, kwargs)

    def _slow(
        self,
        module: BundleModule,
        layout: Layout,
        slots: list[Tensor] | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """The full check; serves the call and remembers its pattern, or ends in eager."""
        refusal = private.ambient_refusal(self.program.device.type)
        if refusal is None and slots is None:
            refusal = "a submodule, parameter or hook was changed"
        if refusal is not None or slots is None:
            return self._run_eager(module, layout, [refusal or ""], slots, args, kwargs)
        reasons: list[str] = []
        for variant in self.program.variants:
            if variant.training is not None and not layout.mode_is(variant.training):
                reasons.append("the module or part of it is in another mode")
                continue
            call = positional(variant.arguments, args, kwargs)
            inputs = "keyword arguments differ" if call is None else flatten(variant.arguments, call)
            if isinstance(inputs, str):
                reasons.append(inputs)
                continue
            tensors = variant.select(inputs, slots)
            reason = variant.refuse(tensors)
            if reason is None:
                pattern = _Pattern(variant, tensors, self.program.prefer)
                if not kwargs:
                    self._patterns = (pattern, *self._patterns)[:_PATTERNS_KEPT]
                grad = pattern.grad and torch.is_grad_enabled()
                if pattern.undecided and self._eager_preferred(variant, tensors, grad):
                    return self._run_preferred(module, layout, slots, args, kwargs)
                return variant.run(tensors, inputs, slots, grad)
            reasons.append(reason)
        return self._run_eager(module, layout, reasons, slots, args, kwargs)

    def served_by(self, module: BundleModule, args: tuple[Any, ...]) -> tuple[int, int] | None:
        """The number of the variant whose guards let a call of ``module`` pass, and its batch (0 where no
        size moves); ``None`` where there is none."""
        layout = Layout(module, self.program.manifest)
        slots = layout.tensors()
        for number, variant in enumerate(self.program.variants):
            if slots is None or (variant.training is not None and not layout.mode_is(variant.training)):
                continue
            inputs = flatten(variant.arguments, args)
            if not isinstance(inputs, str):
                tensors = variant.select(inputs, slots)
                if variant.refuse(tensors) is None:
                    return number, variant.guards.batch(tensors)
        return None

    def _eager_preferred(self, variant: RunnableVariant, tensors: Sequence[Tensor], grad: bool) -> bool:
        """Whether eager is preferred for a call inside the guards, and can serve it."""
        if self.program.prefer == "faster":
            if not grad or not variant.faster_in_eager(tensors):
                return False
            if self._awaited:
                self._awaited -= 1
                return False
        if self._eager is None and self.eager_unavailable is None:
            try:
                self._make_eager()
            except EagerUnavailableError as error:
                self.eager_unavailable = error.message
        return self._eager is not None

    def _make_eager(self) -> EagerModule:
        """Raises ``EagerUnavailableError``."""
        with self._making:
            if self._eager is None:
                self._eager = self.program.make_eager()
                self._straight = self.program.straight_to(self._eager)
            return self._eager

    def _run_preferred(
        self,
        module: BundleModule,
        layout: Layout,
        slots: Sequence[Tensor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        assert self._eager is not None
        self.preferred_eager_calls += 1
        return self._run_on(self._eager, module, layout, slots, args, kwargs)

    @staticmethod
    def _run_on(
        eager: EagerModule,
        module: BundleModule,
        layout: Layout,
        slots: Sequence[Tensor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run eager on a module that is whole; it is wired to it for the calls to come."""
        if eager.serves(module) or eager.wire(layout):
            return eager.forward(*args, **kwargs)
        return eager(module, slots, args, kwargs)

    def _run_eager(
        self,
        module: BundleModule,
        layout: Layout,
        reasons: list[str],
        slots: list[Tensor] | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        manifest = self.manifest
        if manifest.eager_fallback:
            reason = manifest.reason.message if manifest.reason else "no reason is recorded"
            why = f"{manifest.blueprint_id} is an eager fallback: {reason}"
        else:
            self.guard_misses += 1
            self.last_miss = "; ".join(dict.fromkeys(reasons))
            why = f"{manifest.blueprint_id}: guard miss: {self.last_miss}"
            if self.program.on_guard_miss == "raise":
                raise GuardMissError(why)
        if strangers := layout.strangers():
            raise EagerUnavailableError(
                f"{manifest.blueprint_id}: {strangers}, and eager code would not see it",
                advice="hook or change the module as a whole, or load the bundle anew",
            )
        eager = self._eager
        if eager is None:
            try:
                eager = self._make_eager()
            except EagerUnavailableError as error:
                text = f"{why}, and eager cannot run: {error.message}"
                raise EagerUnavailableError(text, advice=error.advice) from error
        if not self._warned:
            self._warned = True
            warnings.warn(f"{why}; running eager", GuardMissWarning, stacklevel=level_of_caller())
        self.eager_calls += 1
        if slots is not None:
            return self._run_on(eager, module, layout, slots, args, kwargs)
        return eager(module, [lookup(module, slot.name) for slot in manifest.slots], args, kwargs)


def _still_good(variant: RunnableVariant, tensors: Sequence[Tensor]) -> bool:
    """What a pattern does not recognise: ranges of dynamic sizes, overlap, rare thread states."""
    guards = variant.guards
    if guards.single is not None:
        position, dim, smallest, largest = guards.single
        if not smallest <= tensors[position].shape[dim] <= largest:
            return False
    elif not guards.static and guards.refuse_moving(tensors):
        return False
    if variant.mutated and variant.refuse_overlap(tensors):
        return False
    return not torch.are_deterministic_algorithms_enabled() and private.forward_ad_level() < 0
