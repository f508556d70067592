"""Rewrite a graph with symbolic sizes so that all its inputs and outputs are tensors.

The ahead-of-time entry point takes and returns tensors only. A size that came in as an argument is
read from a dimension of a tensor argument instead, and one that went out is dropped: whoever needs it
reads it again.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import sympy
import torch
from torch.fx import GraphModule, Node

from tezzeret_cli.worker.unsupported import Unsupported


def tensor_inputs_only(graph: GraphModule) -> tuple[GraphModule, list[Any]]:
    """Replace every size argument of ``graph`` in place.

    Returns the graph and the fake values of the tensor arguments that are left, in order. Raises
    ``Unsupported`` when a size cannot be read from any tensor argument.
    """
    placeholders = graph.graph.find_nodes(op="placeholder")
    tensors = [node for node in placeholders if isinstance(node.meta["val"], torch.Tensor)]
    sizes = [node for node in placeholders if isinstance(node.meta["val"], torch.SymInt)]
    if len(tensors) + len(sizes) != len(placeholders):
        kinds = {type(node.meta["val"]).__name__ for node in placeholders} - {"FakeTensor", "SymInt"}
        raise Unsupported(f"the graph takes an argument that is neither tensor nor size: {kinds}")
    if sizes:
        builder = _SizeBuilder(graph, tensors)
        with graph.graph.inserting_after(placeholders[-1]):
            for node in sizes:
                if node.users:
                    node.replace_all_uses_with(builder.build(node.meta["val"].node.expr))
        for node in sizes:
            graph.graph.erase_node(node)
    graph.graph.lint()
    graph.recompile()
    return graph, [node.meta["val"] for node in tensors]


class _SizeBuilder:
    """Emits nodes that compute a size expression from tensor dimensions."""

    def __init__(self, graph: GraphModule, tensors: Sequence[Node]) -> None:
        self._graph = graph.graph
        self._tensors = tensors
        self._known: dict[sympy.Expr, Node | int] = {}
        self._cursor: Node = graph.graph.find_nodes(op="placeholder")[-1]

    def build(self, expr: sympy.Expr) -> Any:
        if expr not in self._known:
            self._known[expr] = self._emit(expr)
        return self._known[expr]

    def _emit(self, expr: sympy.Expr) -> Node | int:
        if isinstance(expr, sympy.Integer):
            return int(expr)
        found = self._dimension(expr)
        if found is not None:
            return found
        if isinstance(expr, sympy.Symbol):
            return self._divided_dimension(expr)
        if isinstance(expr, sympy.Mul | sympy.Add):
            op = operator.mul if isinstance(expr, sympy.Mul) else operator.add
            terms = [self.build(arg) for arg in expr.args]
            value = terms[0]
            for term in terms[1:]:
                value = self._call(op, value, term)
            return value
        if type(expr).__name__ == "FloorDiv":
            return self._call(operator.floordiv, self.build(expr.args[0]), self.build(expr.args[1]))
        if isinstance(expr, sympy.Pow) and isinstance(expr.exp, sympy.Integer) and expr.exp > 0:
            return self._call(operator.pow, self.build(expr.base), int(expr.exp))
        raise Unsupported(f"the size {expr} cannot be computed from the tensor arguments")

    def _dimension(self, expr: sympy.Expr) -> Node | None:
        for tensor in self._tensors:
            for dim, size in enumerate(tensor.meta["val"].shape):
                if expression(size) == expr:
                    return self._call(torch.ops.aten.sym_size.int, tensor, dim)
        return None

    def _divided_dimension(self, symbol: sympy.Symbol) -> Node:
        for tensor in self._tensors:
            for dim, size in enumerate(tensor.meta["val"].shape):
                factor = expression(size) / symbol
                if isinstance(factor, sympy.Integer) and factor > 1:
                    node = self._call(torch.ops.aten.sym_size.int, tensor, dim)
                    return self._call(operator.floordiv, node, int(factor))
        raise Unsupported(f"no tensor argument tells the size {symbol}")

    def _call(self, target: Any, *args: Any) -> Node:
        with self._graph.inserting_after(self._cursor):
            node = self._graph.call_function(target, args)
        values = [arg.meta["val"] if isinstance(arg, Node) else arg for arg in args]
        if target is torch.ops.aten.sym_size.int:
            node.meta["val"] = values[0].shape[values[1]]
        else:
            node.meta["val"] = target(*values)
        self._cursor = node
        return node


def expression(size: Any) -> sympy.Expr:
    """A size or stride as a sympy expression."""
    return size.node.expr if isinstance(size, torch.SymInt) else sympy.Integer(size)
