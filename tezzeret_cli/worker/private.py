"""Every use of torch's private modules while a module is captured.

A new torch release means reading this file, ``private_inductor.py`` and, for the consumer's side,
``runtime/private.py``. What is relied on: Dynamo hands a graph and fake inputs to a backend; AOTAutograd
splits it and leaves its alias metadata in the tracing context.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch._dynamo
import torch._functorch.config
import torch._inductor.config
import torch._inductor.exc
from torch._dynamo import guards
from torch._dynamo.backends.common import aot_autograd
from torch._functorch._aot_autograd.schemas import OutputType
from torch._functorch.partitioners import min_cut_rematerialization_partition
from torch._guards import TracingContext
from torch.fx import GraphModule, Node
from torch.utils.checkpoint import CheckpointPolicy

from tezzeret_cli.model.manifest import OutputKind
from tezzeret_cli.worker import convolutions
from tezzeret_cli.worker.private_sizes import any_batch

shape_config: Any = importlib.import_module("torch.fx.experimental._config")


@dataclasses.dataclass(frozen=True)
class ResultAlias:
    """What AOTAutograd knows of one graph output: ``base`` indexes graph inputs or results."""

    kind: OutputKind
    base: int
    differentiable: bool


@dataclasses.dataclass
class Trace:
    """One graph as Dynamo captured it and AOTAutograd split it, with one real call observed.

    ``call_inputs`` and ``call_results`` are the real values that went in and out of the graph when the
    example call ran; comparing identities with the caller's own tensors tells what each one is.
    ``result_values`` are the graph's results as AOTAutograd knows them, in sizes that may be symbolic.
    ``unsupported`` names what this runtime does not reproduce, if anything.
    """

    fake_inputs: Sequence[Any] = ()
    call_inputs: Sequence[Any] = ()
    call_results: Sequence[Any] = ()
    value: Any = None
    forward: GraphModule | None = None
    forward_inputs: Sequence[Any] = ()
    backward: GraphModule | None = None
    backward_inputs: Sequence[Any] = ()
    results: tuple[ResultAlias, ...] = ()
    result_values: tuple[Any, ...] = ()
    bases: int = 0
    mutated: tuple[int, ...] = ()
    guards: tuple[str, ...] = ()
    shape_env: Any = None
    context: TracingContext | None = None
    unsupported: str | None = None


def trace(
    call: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    backward: bool,
    dynamic: Sequence[tuple[torch.Tensor, int, int, int]] = (),
    lines: bool = True,
) -> Trace:
    """Capture ``call(*inputs)`` whole and return its graphs.

    ``dynamic`` lists (tensor, dimension, smallest, largest) to keep symbolic. ``backward`` asks for the
    pair of graphs, otherwise the call is traced under ``no_grad``. ``lines`` is as in ``Strategy``. Raises
    what Dynamo and AOTAutograd raise: a graph break, a specialised dynamic dimension, an unsupported
    operation.
    """
    found = Trace()
    torch._dynamo.reset()
    for tensor, dim, smallest, largest in dynamic:
        torch._dynamo.mark_dynamic(tensor, dim, min=smallest, max=largest)
    with _capture_configuration(), several_threads(), any_batch():
        split = _splitting_backend(found, lines)

        def backend(graph: GraphModule, fake_inputs: Sequence[Any], **_: Any) -> Callable[..., Any]:
            found.fake_inputs = tuple(
                node.meta["example_value"] for node in graph.graph.nodes if node.op == "placeholder"
            )
            split(graph, fake_inputs)

            def observed(*args: Any) -> Any:
                results = graph(*args)
                found.call_inputs, found.call_results = args, results
                return results

            return observed

        def keep_guards(entries: Sequence[Any]) -> list[bool]:
            found.guards = tuple(
                f"{entry.guard_type} {entry.name}".rstrip() for entry in entries if entry.guard_type
            )
            return [True] * len(entries)

        compiled = torch.compile(
            call, backend=backend, fullgraph=True, options={"guard_filter_fn": keep_guards}
        )
        with contextlib.nullcontext() if backward else torch.no_grad():
            found.value = compiled(*inputs)
    return found


@contextlib.contextmanager
def _capture_configuration() -> Iterator[None]:
    with (
        torch._functorch.config.patch(
            force_non_lazy_backward_lowering=True,
            donated_buffer=False,
            enable_autograd_cache=False,
        ),
        torch._inductor.config.patch(fallback_random=True),
        shape_config.patch(backed_size_oblivious=True),
        torch._dynamo.config.patch(
            automatic_dynamic_shapes=False,
            error_on_recompile=False,
            suppress_errors=False,
            allow_rnn=True,
            # With symbolic sizes, looking a fake tensor up and making it again is dearer than computing it.
            fake_tensor_cache_enabled=False,
        ),
        _guards_not_timed(),
    ):
        yield


@contextlib.contextmanager
def _guards_not_timed() -> Iterator[None]:
    """Dynamo empties the processor's caches to time its guards, a tenth of a second for a line of a log."""
    timed = vars(guards)["profile_guard_manager"]
    vars(guards)["profile_guard_manager"] = lambda *_: 0.0
    try:
        yield
    finally:
        vars(guards)["profile_guard_manager"] = timed


@contextlib.contextmanager
def several_threads() -> Iterator[None]:
    """With a single thread torch chooses a convolution's backend by the batch size, which would bind
    the graph to small batches."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _splitting_backend(found: Trace, lines: bool) -> Callable[..., Any]:
    """An AOTAutograd backend that compiles nothing and keeps the graphs in ``found``."""

    def keep_forward(graph: GraphModule, fake_inputs: Sequence[Any]) -> Callable[..., Any]:
        context = TracingContext.get()
        found.context = context
        found.shape_env = context.fake_mode.shape_env if context.fake_mode else None
        found.forward, found.forward_inputs = graph, tuple(fake_inputs)
        _read_metadata(context.fw_metadata, found)
        (output,) = graph.graph.find_nodes(op="output")
        results: Any = output.args[0]
        found.result_values = tuple(
            node.meta.get("val") if isinstance(node, Node) else node for node in results[: len(found.results)]
        )
        return graph

    def keep_backward(graph: GraphModule, fake_inputs: Sequence[Any]) -> Callable[..., Any]:
        found.backward, found.backward_inputs = graph, tuple(fake_inputs)
        return graph

    from torch._inductor.decomposition import select_decomp_table

    return aot_autograd(
        fw_compiler=keep_forward,
        bw_compiler=keep_backward,
        inference_compiler=keep_forward,
        partition_fn=_partitioned,
        decompositions={**select_decomp_table(), **convolutions.decompositions(lines)},
        keep_inference_input_mutations=True,
    )


def _partitioned(joint: GraphModule, inputs: Sequence[Any], **rest: Any) -> tuple[GraphModule, GraphModule]:
    """Forward and backward of a graph of both.

    The partitioner saves the mask of a ReLU, a quarter of the bytes of its result, also where the result is
    an output and thus there anyway; and inductor stores a mask one element at a time. There the mask is
    computed again.
    """
    aten = torch.ops.aten
    (output,) = joint.graph.find_nodes(op="output")
    forward = set(output.args[0][: rest["num_fwd_outputs"]])
    for mask in joint.graph.find_nodes(op="call_function", target=aten.le.Scalar):
        compared = result = mask.args[0]
        while result.target is aten.alias.default:
            result = result.args[0]
        if result in forward and result.target is aten.relu.default:
            mask.replace_input_with(compared, result)
            mask.meta["recompute"] = CheckpointPolicy.MUST_RECOMPUTE
    parts: tuple[GraphModule, GraphModule] = min_cut_rematerialization_partition(joint, inputs, **rest)
    return parts


def _read_metadata(metadata: Any, found: Trace) -> None:
    if metadata.mutated_inp_runtime_indices:
        found.unsupported = "it writes into an input in a way that autograd has to see"
    if metadata.tokens or metadata.num_graphsafe_rng_states:
        found.unsupported = "it has side effects that a compiled graph cannot carry"
    if any(info.mutates_metadata for info in metadata.input_info):
        found.unsupported = "it changes the shape or strides of an input in place"
    if metadata.grad_enabled_mutation is not None:
        found.unsupported = "it switches gradient mode"
    found.mutated = tuple(metadata.mutated_graph_handled_indices)
    found.bases = metadata.num_intermediate_bases
    found.results = tuple(_alias(info, metadata, found) for info in metadata.output_info)


def _alias(info: Any, metadata: Any, found: Trace) -> ResultAlias:
    grad = bool(info.requires_grad)
    match info.output_type:
        case OutputType.non_alias | OutputType.unsafe_view_alias:
            return ResultAlias(OutputKind.COMPUTED, 0, grad)
        case OutputType.is_input:
            return ResultAlias(OutputKind.INPUT, info.base_idx, grad)
        case OutputType.alias_of_input:
            return ResultAlias(OutputKind.VIEW_OF_INPUT, info.base_idx, grad)
        case OutputType.alias_of_intermediate | OutputType.alias_of_intermediate_save_as_output:
            base = len(metadata.output_info) + info.base_idx
            return ResultAlias(OutputKind.VIEW_OF_RESULT, base, grad)
        case OutputType.alias_of_intermediate_base_is_user_output:
            return ResultAlias(OutputKind.VIEW_OF_RESULT, info.base_idx, grad)
        case other:
            found.unsupported = f"an output is an alias of kind {other.name}"
            return ResultAlias(OutputKind.COMPUTED, 0, grad)


CAPTURE_ERRORS: tuple[type[Exception], ...] = (
    torch._dynamo.exc.TorchDynamoException,
    torch.fx.experimental.symbolic_shapes.ConstraintViolationError,
)
COMPILE_ERRORS: tuple[type[Exception], ...] = (torch._inductor.exc.InductorError,)
"""Inductor's, which Dynamo counts among its own."""
NO_COMPILER_ERRORS: tuple[type[Exception], ...] = (torch._inductor.exc.InvalidCxxCompiler,)
"""What one of ``COMPILE_ERRORS`` holds where there is nothing to compile with."""
GRAPH_BREAK_ERRORS: tuple[type[Exception], ...] = (torch._dynamo.exc.Unsupported,)
SPECIALISATION_ERRORS: tuple[type[Exception], ...] = (
    torch.fx.experimental.symbolic_shapes.ConstraintViolationError,
)


def symbol_bounds(shape_env: Any, symbol: Any, smallest: int, largest: int) -> tuple[int, int]:
    """The range that the shape environment knows for ``symbol``, within the one asked for."""
    known = shape_env.var_to_range.get(symbol)
    if known is None:
        return smallest, largest
    low = int(known.lower) if known.lower.is_finite else smallest
    high = int(known.upper) if known.upper.is_finite else largest
    return max(low, smallest), min(high, largest)


def shape_guards(shape_env: Any) -> list[Any]:
    """The conditions on symbols that tracing and lowering relied on, as sympy expressions."""
    return [shape_env.simplify(guard.expr) for guard in shape_env.guards]


def is_random(graph: GraphModule) -> bool:
    """Whether running ``graph`` draws from torch's random generators."""
    return any(
        torch.Tag.nondeterministic_seeded in node.target.tags
        for node in graph.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload)
    )
