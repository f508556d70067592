"""Turn a capture into ahead-of-time libraries and the variant that describes how to call them."""

from __future__ import annotations

import copy
import dataclasses
import math
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sympy
import torch
from torch.fx import GraphModule, Node

from tezzeret_cli.model.job import Strategy
from tezzeret_cli.model.manifest import Graph, OutputKind, OutputLeaf, Source, SourceKind, Tangent, Variant
from tezzeret_cli.worker import private, private_inductor
from tezzeret_cli.worker.capture import Capture, Specialised
from tezzeret_cli.worker.library import GRAPHS, Library
from tezzeret_cli.worker.private_sizes import hint
from tezzeret_cli.worker.symbols import expression, tensor_inputs_only
from tezzeret_cli.worker.unsupported import Unsupported

INFERENCE_SHARE = 4.0
"""From how many times the returned bytes on saved activations cost a call without gradients too much
memory. ``bench/inference.py`` measures what the library of its own gains."""


@dataclasses.dataclass(frozen=True)
class Toolbox:
    """Where, for which device and how to compile. ``library`` takes the code that it can, ``stage`` is told
    what begins, ``note`` what is to stand in the manifest."""

    staging: Path
    scratch: Path
    library: Library
    device: torch.device
    patch: dict[str, Any]
    strategy: Strategy
    stage: Callable[[str], None]
    note: Callable[[str], None]


def lower(capture: Capture, name: str, training: bool | None, tools: Toolbox) -> Variant:
    """Compile the capture's graphs and describe them. Raises ``Unsupported`` or inductor's errors."""
    trace = capture.trace
    described = Variant(
        name=name,
        training=training,
        arguments=capture.arguments,
        output=capture.output,
        leaves=capture.leaves,
        forward=None,
    )
    if trace.forward is None:
        return described
    plan = _Plan(capture)
    if not plan.results and not trace.mutated:
        return described
    (tools.staging / "graphs").mkdir(exist_ok=True)
    inference = None
    if tools.strategy.extras and plan.worth_inference():
        tools.stage("compile inference")
        graph, sources = plan.inference()
        inference = _compile(graph, sources, name, "inference", capture, tools)
    tools.stage("compile forward")
    forward = _compile(plan.forward(), plan.forward_sources, name, "forward", capture, tools)
    backward = None
    if trace.backward is not None:
        tools.stage("compile backward")
        graph = plan.backward()
        backward = _compile(graph, plan.backward_sources, name, "backward", capture, tools)
    return Variant(
        name=name,
        training=training,
        arguments=capture.arguments,
        output=capture.output,
        leaves=tuple(plan.leaf(leaf) for leaf in capture.leaves),
        forward=forward,
        backward=backward,
        inference=inference,
        outputs=len(plan.results),
        saved=len(plan.saved),
        mutated=tuple(s for i in trace.mutated if (s := capture.sources[i]) is not None),
        tangents=plan.tangents if backward else (),
        gradients=plan.gradients if backward else (),
        random=private.is_random(trace.forward),
    )


class _Plan:
    """Decides what goes in and out of each library.

    A value that the backward needs and that came in as an argument is taken from the caller again
    rather than returned by the forward library; sizes are read from tensors; arguments that a graph
    does not use are not passed.
    """

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        trace = capture.trace
        assert trace.forward is not None
        self._forward = trace.forward
        self._placeholders = self._forward.graph.find_nodes(op="placeholder")
        outputs = _outputs(self._forward)
        count = len(trace.results) + trace.bases
        self._kept = [
            position
            for position in range(count)
            if position >= len(trace.results) or trace.results[position].kind is not OutputKind.INPUT
        ]
        self.results: list[Node] = [outputs[position] for position in self._kept]
        if not all(_is_tensor(node) for node in self.results):
            raise Unsupported("it returns a value that depends on the size of its input")
        self.saved: list[Node] = [
            node for node in outputs[count:] if node.op != "placeholder" and _is_tensor(node)
        ]
        self._argument_sources = dict(
            zip((node.name for node in self._placeholders), capture.sources, strict=True)
        )
        self.forward_sources: tuple[Source, ...] = ()
        self.backward_sources: tuple[Source, ...] = ()
        self.tangents: tuple[Tangent, ...] = ()
        self.gradients: tuple[Source, ...] = ()

    def leaf(self, leaf: OutputLeaf) -> OutputLeaf:
        """The leaf with positions in the library's results and in the caller's inputs."""
        if leaf.kind in (OutputKind.INPUT, OutputKind.TENSOR, OutputKind.CONSTANT):
            return leaf
        base, kind = leaf.base, leaf.kind
        if kind is OutputKind.VIEW_OF_INPUT:
            source = _present(self._capture.sources[leaf.base])
            base = source.index
            if source.kind is SourceKind.TENSOR:
                kind = OutputKind.VIEW_OF_TENSOR
        elif kind is OutputKind.VIEW_OF_RESULT:
            base = self._kept.index(leaf.base)
        return OutputLeaf(kind, self._kept.index(leaf.index), base, leaf.differentiable)

    def worth_inference(self) -> bool:
        """Whether a call without gradients should have a library of its own.

        Masks and indices are what makes a forward pass for training slow: computing them keeps
        convolutions, pools and activations from being fused. Other saved values cost memory.
        """
        apart = any(not node.meta["val"].is_floating_point() for node in self.saved)
        return apart or _bytes(self.saved) >= INFERENCE_SHARE * max(1, _bytes(self.results))

    def inference(self) -> tuple[GraphModule, tuple[Source, ...]]:
        """The forward graph without what only the backward needs. Asked for before ``forward``."""
        alone = GraphModule(self._forward, copy.deepcopy(self._forward.graph))
        outputs = _outputs(alone)
        return self._finished(alone, [outputs[position] for position in self._kept])

    def forward(self) -> GraphModule:
        graph, self.forward_sources = self._finished(self._forward, [*self.results, *self.saved])
        return graph

    def _finished(
        self, graph: GraphModule, outputs: Sequence[Node]
    ) -> tuple[GraphModule, tuple[Source, ...]]:
        """``graph`` with these outputs and tensor arguments only, and where the arguments come from."""
        _set_outputs(graph, outputs)
        private_inductor.keep_output_strides(graph)
        _drop_unused_tensors(graph)
        graph, _ = tensor_inputs_only(graph)
        names = [node.name for node in graph.graph.find_nodes(op="placeholder")]
        return graph, tuple(_present(self._argument_sources[name]) for name in names)

    def backward(self) -> GraphModule:
        graph = self._capture.trace.backward
        assert graph is not None
        self._describe_tangents(graph)
        outputs = _outputs(graph)
        pairs = [
            (node, source)
            for node, source in zip(outputs, self._capture.sources, strict=True)
            if node is not None and source is not None
        ]
        self.gradients = tuple(source for _, source in pairs)
        _set_outputs(graph, [node for node, _ in pairs])
        _drop_unused_tensors(graph)
        graph, _ = tensor_inputs_only(graph)
        saved = {node.name: i for i, node in enumerate(self.saved)}
        self.backward_sources = tuple(
            self._backward_source(node.name, saved) for node in graph.graph.find_nodes(op="placeholder")
        )
        return graph

    def _backward_source(self, name: str, saved: dict[str, int]) -> Source:
        if name in saved:
            return Source(SourceKind.SAVED, saved[name])
        if name.startswith("tangents_"):
            return Source(SourceKind.TANGENT, int(name.removeprefix("tangents_")) - 1)
        return _present(self._argument_sources[name])

    def _describe_tangents(self, graph: GraphModule) -> None:
        results = self._capture.trace.results
        wanted = [
            position
            for position in self._kept
            if position >= len(results)
            or (results[position].kind is OutputKind.COMPUTED and results[position].differentiable)
        ]
        placeholders = [
            node for node in graph.graph.find_nodes(op="placeholder") if node.name.startswith("tangents_")
        ]
        if len(wanted) != len(placeholders):
            raise Unsupported(f"{len(placeholders)} gradients come in for {len(wanted)} results")
        self.tangents = tuple(
            _tangent(self._kept.index(position), node.meta["val"])
            for position, node in zip(wanted, placeholders, strict=True)
        )


def _compile(
    graph: GraphModule,
    sources: Sequence[Source],
    variant: str,
    direction: str,
    capture: Capture,
    tools: Toolbox,
) -> Graph:
    text = tools.staging / "graphs" / f"{variant}.{direction}.txt"
    text.write_text(graph.code, encoding="utf-8")
    inputs = [node.meta["val"] for node in graph.graph.find_nodes(op="placeholder")]
    results = len(_outputs(graph))
    directory = tools.scratch / f"{variant}.{direction}"
    directory.mkdir(parents=True)
    before = len(tools.library)

    def apart(why: str) -> None:
        tools.note(f"{variant}.{direction} has a library of its own, with AOTInductor's container: {why}")

    files = private_inductor.compile_library(
        graph,
        inputs,
        context=capture.trace.context,
        backward=direction == "backward",
        inference=direction == "inference",
        device=tools.device,
        patch=tools.patch,
        output=directory,
        strategy=tools.strategy,
        take=tools.library.add,
        not_taken=apart,
    )
    if len(tools.library) > before:
        return Graph(library=GRAPHS, entry=len(tools.library), arguments=tuple(sources), results=results)
    library = f"lib/{variant}.{direction}.so"
    _install(files, tools.staging / library)
    return Graph(library=library, arguments=tuple(sources), results=results)


def _install(files: Sequence[Path], target: Path) -> None:
    libraries = [file for file in files if file.suffix == ".so"]
    if len(libraries) != 1:
        raise Unsupported(f"the compiler left {len(libraries)} libraries where one was expected")
    for file in files:
        if file.name.endswith("extern_kernel_nodes.json") or file.suffix in (".cubin", ".blob"):
            raise Unsupported(f"its library needs a file beside it ({file.name})")
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(libraries[0], target)
    subprocess.run(["strip", "--strip-unneeded", str(target)], check=True, capture_output=True)


def _output_node(graph: GraphModule) -> Node:
    (node,) = graph.graph.find_nodes(op="output")
    return node


def _outputs(graph: GraphModule) -> Sequence[Any]:
    values: Any = _output_node(graph).args[0]
    return values


def _set_outputs(graph: GraphModule, nodes: Sequence[Node]) -> None:
    output = _output_node(graph)
    output.args = (tuple(nodes),)
    graph.graph.eliminate_dead_code()


def _drop_unused_tensors(graph: GraphModule) -> None:
    for node in graph.graph.find_nodes(op="placeholder"):
        if _is_tensor(node) and not node.users:
            if len([n for n in graph.graph.find_nodes(op="placeholder") if _is_tensor(n)]) == 1:
                return
            graph.graph.erase_node(node)


def _is_tensor(node: Any) -> bool:
    return isinstance(node, Node) and isinstance(node.meta.get("val"), torch.Tensor)


def _bytes(nodes: Sequence[Node]) -> int:
    """Bytes that these values take at the example's sizes."""
    values = [node.meta["val"] for node in nodes]
    return sum(math.prod(hint(size) for size in v.shape) * v.element_size() for v in values)


def _present(source: Source | None) -> Source:
    if source is None:
        raise Unsupported("a size would have to be passed as an argument")
    return source


def _tangent(result: int, tensor: torch.Tensor) -> Tangent:
    strides = [hint(stride) for stride in tensor.stride()]
    order = tuple(sorted(range(tensor.dim()), key=lambda dim: -strides[dim]))
    expected = sympy.Integer(1)
    dense = True
    for dim in reversed(order):
        dense = dense and expression(tensor.stride(dim)) == expected
        expected = expected * expression(tensor.shape[dim])
    if dense:
        return Tangent(result, order)
    if any(isinstance(stride, torch.SymInt) for stride in tensor.stride()):
        raise Specialised(f"the gradient of result {result} has strides that move with the batch")
    return Tangent(result, order, tuple(strides))
