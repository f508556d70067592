"""Capture one call of a module and describe it in the manifest's terms.

``capture`` answers what the graph's arguments are (by the identity of the tensors that went in), what
its results mean to the caller, and which symbolic sizes it keeps. Lowering is ``lower.py``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import sympy
import torch
from torch import Tensor

from tezzeret_cli.model.job import BatchRange
from tezzeret_cli.model.manifest import (
    Constant,
    Extent,
    GuardKind,
    OutputKind,
    OutputLeaf,
    Source,
    SourceKind,
    Symbolic,
    TensorGuard,
    Tree,
    TreeKind,
)
from tezzeret_cli.worker import private
from tezzeret_cli.worker.subject import Subject, fresh_inputs, python_state, unflatten_arguments
from tezzeret_cli.worker.symbols import expression
from tezzeret_cli.worker.unsupported import Unsupported


class Specialised(Exception):
    """The module does not allow the dynamic batch that was asked for."""


@dataclasses.dataclass(frozen=True)
class Capture:
    """A traced call. ``sources`` has one entry per graph argument, ``None`` for a size; ``inputs`` are the
    caller's tensors."""

    training: bool
    trace: private.Trace
    arguments: Tree
    output: Tree
    leaves: tuple[OutputLeaf, ...]
    sources: tuple[Source | None, ...]
    batch: BatchRange | None
    inputs: tuple[Tensor, ...]

    @property
    def code(self) -> str:
        """The graphs as text; two captures with equal code compute the same."""
        graphs = (self.trace.forward, self.trace.backward)
        return "\n".join(graph.code for graph in graphs if graph is not None)

    @property
    def reads_mode(self) -> bool:
        """Whether the code that ran asked for a ``training`` flag: Dynamo guards what was read."""
        return any("training" in guard for guard in self.trace.guards)


def capture(
    subject: Subject,
    arguments: Tree,
    example: Sequence[Tensor],
    *,
    training: bool,
    backward: bool,
    batch: BatchRange | None,
    device: torch.device,
    lines: bool = True,
) -> Capture:
    """Trace one call in one mode.

    With ``batch``, dimension 0 of every tensor input that has the first one's size there is kept
    symbolic; ``Specialised`` is raised when the module does not let it be. ``lines`` is as in ``Strategy``.
    Raises ``Unsupported`` for what the runtime cannot reproduce, and whatever Dynamo raises for what it
    cannot capture.
    """
    subject.module.train(training)
    inputs = fresh_inputs(example, device)
    args = unflatten_arguments(arguments, inputs)
    dynamic = [(t, 0, batch.min, batch.max) for t in batch_inputs(inputs)] if batch else []
    before = python_state(subject.module)
    try:
        trace = private.trace(subject.module, args, backward=backward, dynamic=dynamic, lines=lines)
    except private.SPECIALISATION_ERRORS as error:
        raise Specialised(_violation(str(error))) from error
    after = python_state(subject.module)
    if before != after:
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        raise Unsupported(f"it changes its own attribute {changed[0]!r}, which a compiled graph cannot carry")
    if trace.unsupported:
        raise Unsupported(f"it cannot be reproduced outside autograd: {trace.unsupported}")
    output, leaves = _describe_value(trace, inputs, subject.tensors)
    sources = tuple(_source(value, inputs, subject.tensors) for value in trace.call_inputs)
    return Capture(training, trace, arguments, output, leaves, sources, batch, tuple(inputs))


def _violation(text: str) -> str:
    """What Dynamo says was violated, without its advice on logging."""
    needed = re.search(r"satisfy the generated guard (.+?)\.?$", text, re.MULTILINE)
    if needed:
        return f"the module needs {needed[1]}"
    lines = [line.strip(" -") for line in text.splitlines() if line.strip().startswith("-")]
    return lines[0] if lines else text.strip().splitlines()[0]


def batch_inputs(inputs: Sequence[Tensor]) -> list[Tensor]:
    """The tensor inputs whose dimension 0 is the batch: equal to the first input's."""
    if not inputs or inputs[0].dim() == 0:
        return []
    return [tensor for tensor in inputs if tensor.dim() and tensor.shape[0] == inputs[0].shape[0]]


def _position(value: Any, candidates: Sequence[Any]) -> int | None:
    return next((i for i, candidate in enumerate(candidates) if candidate is value), None)


def _source(value: Any, inputs: Sequence[Tensor], tensors: Sequence[Tensor]) -> Source | None:
    if not isinstance(value, Tensor):
        return None
    slot = _position(value, tensors)
    if slot is not None:
        return Source(SourceKind.TENSOR, slot)
    position = _position(value, inputs)
    if position is not None:
        return Source(SourceKind.INPUT, position)
    raise Unsupported(
        f"it reads a tensor of shape {tuple(value.shape)} that is neither an argument nor a parameter "
        "or buffer; register it as a buffer"
    )


def _describe_value(
    trace: private.Trace, inputs: Sequence[Tensor], tensors: Sequence[Tensor]
) -> tuple[Tree, tuple[OutputLeaf, ...]]:
    leaves: list[OutputLeaf] = []

    def visit(value: Any) -> Tree:
        if isinstance(value, Tensor):
            leaves.append(_leaf(value))
            return Tree(TreeKind.LEAF)
        if value is None or type(value) in (bool, int, float, str):
            leaves.append(OutputLeaf(OutputKind.CONSTANT, constant=Constant.of(value)))
            return Tree(TreeKind.LEAF)
        if type(value) in (tuple, list):
            kind = TreeKind.TUPLE if type(value) is tuple else TreeKind.LIST
            return Tree(kind, children=tuple(visit(item) for item in value))
        if type(value) is dict and all(type(key) is str for key in value):
            children = tuple(visit(item) for item in value.values())
            return Tree(TreeKind.DICT, keys=tuple(value), children=children)
        raise Unsupported(f"it returns a {type(value).__name__}, which has no description in a manifest")

    def _leaf(value: Tensor) -> OutputLeaf:
        if (position := _position(value, inputs)) is not None:
            return OutputLeaf(OutputKind.INPUT, index=position)
        if (position := _position(value, tensors)) is not None:
            return OutputLeaf(OutputKind.TENSOR, index=position)
        position = _position(value, trace.call_results)
        if position is None:
            raise Unsupported("it returns a tensor that the captured graph did not make")
        alias = trace.results[position]
        return OutputLeaf(alias.kind, position, alias.base, alias.differentiable)

    tree = visit(trace.value)
    return tree, tuple(leaves)


def tensor_guards(
    capture: Capture, ranges: dict[str, BatchRange], variant: int, subject: Subject
) -> tuple[TensorGuard, ...]:
    """What each tensor argument must look like: those of the graph, and inputs that it does not take, for
    the module may have looked at their shape or type while it was traced. ``ranges``: ``symbol_ranges``."""
    guards = _untaken_guards(capture, variant, ranges)
    for source, fake in zip(capture.sources, capture.trace.fake_inputs, strict=True):
        if source is None:
            continue
        if source.kind is SourceKind.INPUT:
            kind, name = GuardKind.INPUT, _input_name(capture.arguments, source.index)
        else:
            slot = subject.slots[source.index]
            kind = GuardKind.PARAMETER if slot.is_parameter else GuardKind.BUFFER
            name = slot.name
        guards.append(
            TensorGuard(
                variant=variant,
                kind=kind,
                index=source.index,
                name=name,
                dtype=str(fake.dtype).removeprefix("torch."),
                device=fake.device.type,
                shape=tuple(_extent(size, ranges) for size in fake.shape),
                stride=tuple(_extent(size, {}) for size in fake.stride()),
                requires_grad=bool(fake.requires_grad),
            )
        )
    return tuple(guards)


def _untaken_guards(capture: Capture, variant: int, ranges: dict[str, BatchRange]) -> list[TensorGuard]:
    """Guards on the inputs that are no arguments of the graph: exactly as in the example, but for a batch
    size that goes with the others'."""
    taken = {s.index for s in capture.sources if s is not None and s.kind is SourceKind.INPUT}
    batch = _batch_extent(capture, ranges)
    moving = {id(tensor) for tensor in batch_inputs(capture.inputs)} if batch else set()
    guards = []
    for index, tensor in enumerate(capture.inputs):
        if index in taken:
            continue
        shape: list[Extent] = list(tensor.shape)
        if id(tensor) in moving and batch is not None:
            shape[0] = batch
        guards.append(
            TensorGuard(
                variant=variant,
                kind=GuardKind.INPUT,
                index=index,
                name=_input_name(capture.arguments, index),
                dtype=str(tensor.dtype).removeprefix("torch."),
                device=tensor.device.type,
                shape=tuple(shape),
                stride=tuple(tensor.stride()),
                requires_grad=tensor.requires_grad,
            )
        )
    return guards


def _batch_extent(capture: Capture, ranges: dict[str, BatchRange]) -> Symbolic | None:
    """The batch size that moves: the graph's, or any where nothing but what came in is returned."""
    for source, fake in zip(capture.sources, capture.trace.fake_inputs, strict=True):
        if source is not None and source.kind is SourceKind.INPUT and fake.dim():
            extent = _extent(fake.shape[0], ranges)
            if isinstance(extent, Symbolic) and extent.factor == 1 and len(extent.symbols) == 1:
                return extent
    through = all(leaf.kind in (OutputKind.INPUT, OutputKind.TENSOR) for leaf in capture.leaves)
    if capture.batch is not None and capture.trace.forward is None and through:
        return Symbolic(1, ("batch",), capture.batch.min, capture.batch.max)
    return None


def _input_name(tree: Tree, index: int) -> str:
    names: list[str] = []

    def visit(node: Tree, path: str) -> None:
        if node.kind is TreeKind.LEAF:
            names.append(path)
        for position, child in enumerate(node.children):
            key = node.keys[position] if node.keys else str(position)
            visit(child, f"{path}.{key}" if path else key)

    visit(tree, "")
    return names[index]


def check_shapes(capture: Capture, inputs: Sequence[Tensor], outputs: Sequence[Tensor | None]) -> None:
    """Raise ``Specialised`` where the graph's results for ``inputs`` have other shapes than eager's
    ``outputs``: a batch of one may be left out (``squeeze``)."""
    sizes: dict[sympy.Expr, sympy.Integer] = {}
    for source, fake in zip(capture.sources, capture.trace.fake_inputs, strict=True):
        if source is not None and source.kind is SourceKind.INPUT:
            moving = zip(fake.shape, inputs[source.index].shape, strict=True)
            sizes |= {expression(size): sympy.Integer(real) for size, real in moving}
    for leaf, output in zip(capture.leaves, outputs, strict=True):
        if leaf.kind is OutputKind.COMPUTED and output is not None:
            value = capture.trace.result_values[leaf.index]
            shape = tuple(expression(size).xreplace(sizes) for size in value.shape)
            if all(size.is_Integer for size in shape) and shape != tuple(output.shape):
                first = tuple(inputs[0].shape) if inputs else ()
                raise Specialised(f"for {first} eager returns {tuple(output.shape)}, the graph {shape}")


def symbol_ranges(capture: Capture) -> dict[str, BatchRange]:
    """The allowed values of each symbol, narrowed by the guards that the compilation left.

    Raises ``Specialised`` when the values that satisfy the guards are not one contiguous range that
    reaches at least to 2.
    """
    env = capture.trace.shape_env
    batch = capture.batch
    if env is None or batch is None:
        return {}
    symbols = {
        expr
        for fake in capture.trace.fake_inputs
        if isinstance(fake, Tensor)
        for size in (*fake.shape, *fake.stride())
        if isinstance(size, torch.SymInt)
        for expr in size.node.expr.free_symbols
    }
    coupled = [guard for guard in private.shape_guards(env) if len(guard.free_symbols) > 1]
    if coupled:
        raise Specialised(f"the batch sizes of its inputs have to satisfy {coupled[0]}")
    return {symbol.name: _allowed(symbol, env, batch) for symbol in symbols}


def _allowed(symbol: sympy.Symbol, env: Any, batch: BatchRange) -> BatchRange:
    low, high = private.symbol_bounds(env, symbol, batch.min, batch.max)
    guards = [guard for guard in private.shape_guards(env) if guard.free_symbols <= {symbol}]
    good = [value for value in range(low, high + 1) if all(_holds(g, symbol, value) for g in guards)]
    if not good or good[-1] < 2 or good[-1] - good[0] + 1 != len(good):
        raise Specialised(f"the batch size has to satisfy {[str(guard) for guard in guards]}")
    return BatchRange(good[0], good[-1])


def _holds(guard: sympy.Basic, symbol: sympy.Symbol, value: int) -> bool:
    return bool(guard.xreplace({symbol: sympy.Integer(value)}))


def _extent(size: Any, ranges: dict[str, BatchRange]) -> Extent:
    if not isinstance(size, torch.SymInt):
        return int(size)
    expr = size.node.expr
    if isinstance(expr, sympy.Integer):
        return int(expr)
    factor, rest = expr.as_coeff_Mul()
    symbols = [rest] if isinstance(rest, sympy.Symbol) else list(rest.args)
    if not isinstance(factor, sympy.Integer) or not all(isinstance(s, sympy.Symbol) for s in symbols):
        raise Specialised(f"an input has a size or stride of {expr}")
    names = tuple(symbol.name for symbol in symbols)
    allowed = ranges.get(names[0], BatchRange(1, 1))
    return Symbolic(factor=int(factor), symbols=names, min=allowed.min, max=allowed.max)
