"""The ``nn.Module`` that ``load`` returns."""

from __future__ import annotations

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

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        return self


class Node(nn.Module):
    """A submodule of the eager module, holding its parameters and buffers under their names."""


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
    ``preferred_eager_calls`` counts those inside the guards that eager served since it is preferred,
    ``eager_unavailable`` says why it cannot, once that was tried.
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
        self._layout: _Layout | None = None
        self._eager: EagerModule | None = None

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
        layout = self._layout
        if layout is None or layout.module is not module:
            layout = self._layout = _Layout(module, self.program.manifest)
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
                tensors = _select(variant, inputs, slots)
                if pattern.check(*tensors) and _still_good(variant, tensors):
                    grad = pattern.grad and torch.is_grad_enabled()
                    if pattern.undecided and self._eager_preferred(variant, tensors, grad):
                        return self._run_preferred(module, slots, args, kwargs)
                    return variant.run(tensors, inputs, slots, grad)
        return self._slow(module, layout, slots, args, kwargs)

    def _slow(
        self,
        module: BundleModule,
        layout: _Layout,
        slots: list[Tensor] | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """The full check; serves the call and remembers its pattern, or ends in eager."""
        refusal = private.ambient_refusal(self.program.device.type)
        if refusal is None and slots is None:
            refusal = "a submodule, parameter or hook was changed"
        if refusal is not None or slots is None:
            return self._run_eager(module, [refusal or ""], args, kwargs, layout.strangers())
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
            tensors = _select(variant, inputs, slots)
            reason = variant.refuse(tensors)
            if reason is None:
                pattern = _Pattern(variant, tensors, self.program.prefer)
                if not kwargs:
                    self._patterns = (pattern, *self._patterns)[:_PATTERNS_KEPT]
                grad = pattern.grad and torch.is_grad_enabled()
                if pattern.undecided and self._eager_preferred(variant, tensors, grad):
                    return self._run_preferred(module, slots, args, kwargs)
                return variant.run(tensors, inputs, slots, grad)
            reasons.append(reason)
        return self._run_eager(module, reasons, args, kwargs, layout.strangers())

    def served_by(self, module: BundleModule, args: tuple[Any, ...]) -> tuple[int, int] | None:
        """The number of the variant whose guards let a call of ``module`` pass, and its batch (0 where no
        size moves); ``None`` where there is none."""
        layout = _Layout(module, self.program.manifest)
        slots = layout.tensors()
        for number, variant in enumerate(self.program.variants):
            if slots is None or (variant.training is not None and not layout.mode_is(variant.training)):
                continue
            inputs = flatten(variant.arguments, args)
            if not isinstance(inputs, str):
                tensors = _select(variant, inputs, slots)
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
                self._eager = self.program.make_eager()
            except EagerUnavailableError as error:
                self.eager_unavailable = error.message
        return self._eager is not None

    def _run_preferred(
        self, module: BundleModule, slots: Sequence[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        assert self._eager is not None
        self.preferred_eager_calls += 1
        return self._eager(module, slots, args, kwargs)

    def _run_eager(
        self,
        module: BundleModule,
        reasons: list[str],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        strangers: str | None,
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
        if strangers:
            raise EagerUnavailableError(
                f"{manifest.blueprint_id}: {strangers}, and eager code would not see it",
                advice="hook or change the module as a whole, or load the bundle anew",
            )
        if self._eager is None:
            try:
                self._eager = self.program.make_eager()
            except EagerUnavailableError as error:
                text = f"{why}, and eager cannot run: {error.message}"
                raise EagerUnavailableError(text, advice=error.advice) from error
        if not self._warned:
            self._warned = True
            warnings.warn(f"{why}; running eager", GuardMissWarning, stacklevel=level_of_caller())
        self.eager_calls += 1
        tensors = [_lookup(module, slot.name) for slot in manifest.slots]
        return self._eager(module, tensors, args, kwargs)


def _lookup(module: nn.Module, name: str) -> Tensor:
    parent, _, key = name.rpartition(".")
    tensor = getattr(module.get_submodule(parent), key, None)
    if not isinstance(tensor, Tensor):
        raise EagerUnavailableError(f"{name} is no tensor any more", advice="load the bundle anew")
    return tensor


def _select(variant: RunnableVariant, inputs: Sequence[Any], slots: Sequence[Tensor]) -> list[Any]:
    if variant.takes_all_inputs:
        return [*inputs, *[slots[i] for i in variant.slots]]
    return [*[inputs[i] for i in variant.inputs], *[slots[i] for i in variant.slots]]


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


class _Layout:
    """Where a module instance keeps its tensors, for reading them quickly and seeing replacements."""

    def __init__(self, module: nn.Module, manifest: Manifest) -> None:
        self._children: list[tuple[dict[str, Any], str, nn.Module]] = []
        self.module = module
        self._foreign = ""
        self._slots: list[tuple[dict[str, Any], str]] = []
        self._aliases: list[tuple[int, int]] = []
        nodes: dict[str, nn.Module] = {"": module}
        for name in manifest.modules:
            parent, _, key = name.rpartition(".")
            child = nodes[parent]._modules.get(key)
            if not isinstance(child, Node):
                self._foreign = name
                return
            nodes[name] = child
            self._children.append((nodes[parent]._modules, key, child))
        index = {slot.name: i for i, slot in enumerate(manifest.slots)}
        for i, slot in enumerate(manifest.slots):
            parent, _, key = slot.name.rpartition(".")
            node = nodes[parent]
            self._slots.append((node._parameters if slot.is_parameter else node._buffers, key))
            if slot.alias_of is not None:
                self._aliases.append((i, index[slot.alias_of]))

    def tensors(self) -> list[Tensor] | None:
        """The tensor of every slot, or ``None`` when the module was taken apart or hooked inside."""
        if self._foreign:
            return None
        for children, key, child in self._children:
            if (
                children.get(key) is not child
                or child._forward_hooks
                or child._forward_pre_hooks
                or child._backward_hooks
                or child._backward_pre_hooks
            ):
                return None
        if self._children and private.module_hooks():
            return None
        try:
            found: list[Tensor] = [holder[key] for holder, key in self._slots]
        except KeyError:
            return None
        for alias, original in self._aliases:
            if found[alias] is not found[original]:
                return None
        return found

    def strangers(self) -> str | None:
        """What stands or happens inside the module that the eager module, which only borrows its tensors,
        would know nothing of. (Hooks for every module do run on it.)"""
        if self._foreign:
            return f"its submodule {self._foreign!r} was replaced"
        for children, key, child in self._children:
            if children.get(key) is not child:
                return f"its submodule {key!r} was replaced"
            if (
                child._forward_hooks
                or child._forward_pre_hooks
                or child._backward_hooks
                or child._backward_pre_hooks
            ):
                return f"its submodule {key!r} has a hook"
        return None

    def mode_is(self, training: bool) -> bool:
        """Whether the module and all its submodules are in this mode."""
        if self.module.training is not training:
            return False
        return all(child.training is training for _, _, child in self._children)
