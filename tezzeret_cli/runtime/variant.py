"""One compiled variant ready to run: libraries opened, argument positions worked out."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tezzeret_cli.errors import GuardMissError
from tezzeret_cli.model.job import BatchRange
from tezzeret_cli.model.manifest import (
    Graph,
    GuardKind,
    OutputKind,
    OutputLeaf,
    SourceKind,
    Tangent,
    TensorGuard,
    Variant,
)
from tezzeret_cli.runtime import private
from tezzeret_cli.runtime.arguments import is_flat, rebuild
from tezzeret_cli.runtime.guards import TensorGuards

OpenLibrary = Callable[[Graph], private.Run]
Pick = Callable[[Sequence[Any]], tuple[Any, ...]]

GPU_ALIGNMENT = 16
"""Bytes. Inductor's code for GPUs copies an argument that begins elsewhere, and works on the copy."""


class RunnableVariant:
    """Runs one variant on the tensors that its guards name, in their order.

    ``inputs`` and ``slots`` are the indices of the caller's tensors and of the module's that are
    passed; together, in this order, they are the variant's tensors. Its libraries, verified before, are
    opened by ``open`` or with its first call. ``eager`` are the batches that eager serves faster.
    """

    def __init__(
        self,
        variant: Variant,
        guards: Sequence[TensorGuard],
        device: torch.device,
        open_library: OpenLibrary,
        eager: Sequence[BatchRange] = (),
    ) -> None:
        inputs = sorted((g for g in guards if g.kind is GuardKind.INPUT), key=lambda g: g.index)
        slots = sorted((g for g in guards if g.kind is not GuardKind.INPUT), key=lambda g: g.index)
        self.training = variant.training
        self.arguments = variant.arguments
        self.flat = is_flat(variant.arguments)
        self.count = len(variant.arguments.children)
        self.inputs = tuple(guard.index for guard in inputs)
        self.slots = tuple(guard.index for guard in slots)
        self.takes_all_inputs = self.flat and self.inputs == tuple(range(self.count))
        self.eager = tuple(eager)
        self._guards = ([*inputs, *slots], device)
        self._on_gpu = device.type != "cpu"
        position = {(SourceKind.INPUT, index): i for i, index in enumerate(self.inputs)}
        offset = len(self.inputs)
        position |= {(SourceKind.TENSOR, index): offset + i for i, index in enumerate(self.slots)}
        self.mutated = tuple(position[source.kind, source.index] for source in variant.mutated)
        self._variant = variant
        single = variant.output.kind == "leaf" and variant.leaves[0].kind is OutputKind.COMPUTED
        self._only = variant.leaves[0].index if single else None
        self._inputs_of = _picker(self.inputs)
        self._slots_of = _picker(self.slots)
        self._position = position
        self._open_library = open_library
        self._step: _Step | None = None

    @functools.cached_property
    def guards(self) -> TensorGuards:
        """Made with the first call that gets here."""
        return TensorGuards(*self._guards)

    def select(self, inputs: Sequence[Any], slots: Sequence[Tensor]) -> tuple[Any, ...]:
        """Its tensors, of all of the call's and the module's."""
        if self.takes_all_inputs:
            return (*inputs, *self._slots_of(slots))
        return (*self._inputs_of(inputs), *self._slots_of(slots))

    def open(self) -> None:
        """Open the libraries. Raises ``TargetMismatchError`` when the linker refuses one."""
        if self._variant.forward is not None:
            self._step = _Step.of(self._variant, self._position, self._open_library)

    def faster_in_eager(self, tensors: Sequence[Tensor]) -> bool:
        """Whether the bundle says that eager is faster for ``tensors``, which passed the guards."""
        batch = self.guards.batch(tensors)
        return any(span.min <= batch <= span.max for span in self.eager)

    @property
    def eager_serves_all(self) -> bool:
        """Whether the bundle says that eager is faster for all that the guards let pass."""
        moving = self.guards.moving
        if moving is None:
            return bool(self.eager)
        extent = moving[2]
        return any(span.min <= extent.min and extent.max <= span.max for span in self.eager)

    def refuse(self, tensors: Sequence[Any]) -> str | None:
        """Why this variant cannot serve ``tensors``, or ``None``."""
        return self.guards.refuse(tensors) or self.refuse_overlap(tensors)

    def refuse_overlap(self, tensors: Sequence[Tensor]) -> str | None:
        """A tensor that is written must not share memory with another one, nor be copied first, as code for
        GPUs does with what begins at an odd place."""
        if not self.mutated:
            return None
        if self._on_gpu:
            for position in self.mutated:
                if tensors[position].data_ptr() % GPU_ALIGNMENT:
                    name = self.guards.guards[position].name
                    return f"{name} is written, and does not begin at a multiple of {GPU_ALIGNMENT} bytes"
        storages = [tensor.untyped_storage().data_ptr() for tensor in tensors]
        for position in self.mutated:
            if storages.count(storages[position]) > 1:
                return f"{self.guards.guards[position].name} shares memory with another tensor"
        return None

    def run(
        self, tensors: Sequence[Tensor], inputs: Sequence[Tensor], slots: Sequence[Tensor], grad: bool
    ) -> Any:
        """Run on guarded ``tensors``; ``inputs`` and ``slots`` are all of the call's and the module's."""
        results: Sequence[Tensor] = ()
        step = self._step
        if step is None:
            self.open()
            step = self._step
        if step is not None:
            results = _apply(step, *tensors) if grad else step.infer(tensors)
        if self.mutated:
            torch.autograd.graph.increment_version([tensors[position] for position in self.mutated])
        if self._only is not None:
            return results[self._only]
        leaves = (_leaf(leaf, results, inputs, slots) for leaf in self._variant.leaves)
        return rebuild(self._variant.output, leaves)


def _leaf(
    leaf: OutputLeaf, results: Sequence[Tensor], inputs: Sequence[Tensor], slots: Sequence[Tensor]
) -> Any:
    match leaf.kind:
        case OutputKind.COMPUTED:
            return results[leaf.index]
        case OutputKind.INPUT:
            return inputs[leaf.index]
        case OutputKind.TENSOR:
            return slots[leaf.index]
        case OutputKind.CONSTANT:
            return leaf.constant.value if leaf.constant else None
        case OutputKind.VIEW_OF_INPUT:
            base = inputs[leaf.base]
        case OutputKind.VIEW_OF_TENSOR:
            base = slots[leaf.base]
        case OutputKind.VIEW_OF_RESULT:
            base = results[leaf.base]
    shape = results[leaf.index]
    if base.requires_grad and not leaf.differentiable:
        base = base.detach()
    return base.as_strided(shape.size(), shape.stride(), shape.storage_offset())


@dataclasses.dataclass
class _Step:
    """The pair of libraries with all indices resolved to positions among the variant's tensors; those of the
    backward to positions among tangents and saved values, and its results among the function's arguments.

    Found out with the first call, and the same for all: ``shared``, the positions among arguments and outputs
    whose memory saved values lie in; ``twice``, those of ``fixed`` that are another output as well.
    """

    forward: private.Run
    forward_arguments: Pick
    inference: private.Run
    inference_arguments: Pick
    outputs: int
    fixed: tuple[int, ...]
    backward: private.Run | None
    keep: Pick
    kept: tuple[int, ...]
    backward_arguments: Pick
    tangents: tuple[_Gradient, ...]
    gradients: Pick
    nothing: tuple[None, ...]
    shared: tuple[int, ...] | None = None
    twice: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, variant: Variant, position: dict[tuple[SourceKind, int], int], open_library: OpenLibrary
    ) -> _Step:
        assert variant.forward is not None
        forward = open_library(variant.forward)
        inference = forward
        if variant.inference is not None:
            inference = _opened_when_needed(variant.inference, open_library)
        differentiable = {tangent.result for tangent in variant.tangents}
        backward, keep, plan = None, [], []
        if variant.backward is not None:
            backward = open_library(variant.backward)
            sources = variant.backward.arguments
            kept = [s for s in sources if s.kind in (SourceKind.INPUT, SourceKind.TENSOR)]
            keep = [position[source.kind, source.index] for source in kept]
            before = len(variant.tangents)
            for source in sources:
                match source.kind:
                    case SourceKind.TANGENT:
                        plan.append(source.index)
                    case SourceKind.SAVED:
                        plan.append(before + len(keep) + source.index)
                    case _:
                        plan.append(before + kept.index(source))
        places = [0] * (len(position) + 1)
        for number, source in enumerate(variant.gradients, 1):
            places[position[source.kind, source.index] + 1] = number
        return cls(
            forward=forward,
            forward_arguments=_picker(_positions(variant.forward, position)),
            inference=inference,
            inference_arguments=_picker(_positions(variant.inference or variant.forward, position)),
            outputs=variant.outputs,
            fixed=tuple(index for index in range(variant.outputs) if index not in differentiable),
            backward=backward,
            keep=_picker(keep),
            kept=tuple(keep),
            backward_arguments=_picker(plan),
            tangents=tuple(_Gradient.of(tangent) for tangent in variant.tangents),
            gradients=_picker(places),
            nothing=(None,) * len(places),
        )

    def infer(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return self.inference(self.inference_arguments(tensors))[: self.outputs]


def _positions(graph: Graph, position: dict[tuple[SourceKind, int], int]) -> tuple[int, ...]:
    return tuple(position[source.kind, source.index] for source in graph.arguments)


def _picker(positions: Sequence[int]) -> Pick:
    """Picks what stands at ``positions`` out of a sequence."""
    match positions:
        case []:
            return lambda _: ()
        case [position]:
            return lambda values: (values[position],)
        case _:
            return operator.itemgetter(*positions)


def _opened_when_needed(graph: Graph, open_library: OpenLibrary) -> private.Run:
    """Runs the library of ``graph``, which is verified now and opened with the first call: a process
    that only trains does not pay for it."""
    opened: list[private.Run] = []

    def run(arguments: Sequence[Tensor]) -> list[Tensor]:
        if not opened:
            opened.append(open_library(graph))
        return opened[0](arguments)

    return run


class _Function(torch.autograd.Function):
    """One step under autograd. Differentiating its gradient raises."""

    @staticmethod
    def forward(ctx: Any, step: _Step, *tensors: Tensor) -> tuple[Tensor, ...]:
        results = step.forward(step.forward_arguments(tensors))
        count = step.outputs
        outputs = tuple(results[:count])
        saved = results[count:]
        ctx.step = step
        shared = step.shared
        if shared is None:
            step.twice = _twice(outputs, step.fixed)
            shared = step.shared = _shared((*tensors, *outputs), step.kept, saved)
        if step.twice:
            outputs = tuple(out.detach() if i in step.twice else out for i, out in enumerate(outputs))
        if shared:
            watched = (*tensors, *outputs)
            saved += [watched[i] for i in shared]
        ctx.save_for_backward(*step.keep(tensors), *saved)
        if step.fixed:
            ctx.mark_non_differentiable(*[outputs[i] for i in step.fixed])
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        found = _gradients(ctx, *grads)
        # Gradient mode is on when a graph of the gradient is asked for.
        return private.not_again(found) if torch.is_grad_enabled() else found


_apply = private.direct_apply(_Function)


def _gradients(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    """One for each of the function's arguments, of which the first is the step."""
    step: _Step = ctx.step
    if step.backward is None:
        return step.nothing
    tangents = [tangent.laid_out(grads[tangent.result]) for tangent in step.tangents]
    results = step.backward(step.backward_arguments((*tangents, *ctx.saved_tensors)))
    return step.gradients((None, *results))


def _twice(outputs: Sequence[Tensor], fixed: Sequence[int]) -> tuple[int, ...]:
    """Those of ``fixed``, which have no gradient, that are one with a gradient as well: its ``detach()``."""
    others = {id(output) for index, output in enumerate(outputs) if index not in fixed}
    return tuple(index for index in fixed if id(outputs[index]) in others)


def _shared(tensors: Sequence[Tensor], keep: Sequence[int], saved: Sequence[Tensor]) -> tuple[int, ...]:
    """The positions of the arguments and outputs whose memory saved values lie in, as other tensors.

    They are saved too, so that autograd notices when one is changed before the backward: a value that a
    library returned does not know whose view it is.
    """
    memory = {tensor.untyped_storage().data_ptr() for tensor in saved} - {0}
    return tuple(
        position
        for position, tensor in enumerate(tensors)
        if position not in keep
        and tensor.untyped_storage().data_ptr() in memory
        and not any(tensor is value for value in saved)
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Gradient:
    """That of the ``result``-th result, and the memory layout in which the backward library expects it: these
    strides, or contiguous once its dimensions are in this order, which ``back`` undoes (``None`` where it is
    the usual one)."""

    result: int
    stride: tuple[int, ...] | None
    order: tuple[int, ...]
    back: tuple[int, ...] | None

    @classmethod
    def of(cls, tangent: Tangent) -> _Gradient:
        order = tangent.order
        usual = order == tuple(range(len(order)))
        back = None if usual else tuple(order.index(dim) for dim in range(len(order)))
        return cls(tangent.result, tangent.stride, order, back)

    def laid_out(self, gradient: Tensor) -> Tensor:
        """The gradient in that layout. Raises ``GuardMissError`` where it has no memory: the graph is the
        bundle's already, and eager cannot step in."""
        if not private.has_memory(gradient):
            raise GuardMissError(
                "the backward of a bundle takes one gradient at a time: it was given a batch of them "
                "(is_grads_batched, vmap)",
                advice="loop over them, or take the gradient inside torch.func, which runs eager",
            )
        if gradient.is_neg() or gradient.is_conj():
            gradient = gradient.resolve_conj().resolve_neg()
        stride, back = self.stride, self.back
        if stride is not None:
            if gradient.stride() == stride:
                return gradient
            laid_out = torch.empty_strided(
                gradient.shape, stride, dtype=gradient.dtype, device=gradient.device
            )
            return laid_out.copy_(gradient)
        if back is None:
            return gradient.contiguous()
        return gradient.permute(self.order).contiguous().permute(back)
