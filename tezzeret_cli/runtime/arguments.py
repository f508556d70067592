"""Match a call's arguments with a manifest's tree, and rebuild return values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from tezzeret_cli.model.manifest import Tree, TreeKind


def positional(tree: Tree, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The call with its keyword arguments in their positions; ``None`` when one does not belong."""
    if not kwargs:
        return args
    names = tree.keys[len(args) : len(args) + len(kwargs)]
    if set(names) != set(kwargs):
        return None
    return (*args, *(kwargs[name] for name in names))


def is_flat(tree: Tree) -> bool:
    """Whether the arguments are tensors only, without containers or constants."""
    return all(child.kind is TreeKind.LEAF for child in tree.children)


def flatten(tree: Tree, args: Sequence[Any]) -> list[Any] | str:
    """What stands in the tree's leaves, or in one line why the arguments have another shape."""
    found: list[Any] = []
    if len(args) != len(tree.children):
        return f"{len(args)} arguments instead of {len(tree.children)}"
    for child, arg in zip(tree.children, args, strict=True):
        refusal = _collect(child, arg, found)
        if refusal:
            return refusal
    return found


def _collect(tree: Tree, value: Any, found: list[Any]) -> str | None:
    match tree.kind:
        case TreeKind.LEAF:
            found.append(value)
            return None
        case TreeKind.CONSTANT:
            wanted = tree.constant.value if tree.constant else None
            same = type(value) is type(wanted) and value == wanted
            return None if same else f"an argument is {value!r:.40} instead of {wanted!r}"
        case TreeKind.DICT:
            if type(value) is not dict or tuple(value) != tree.keys:
                return f"an argument is not a dict with the keys {', '.join(tree.keys)}"
            items: Sequence[Any] = tuple(value.values())
        case _:
            kind = list if tree.kind is TreeKind.LIST else tuple
            if type(value) is not kind or len(value) != len(tree.children):
                return f"an argument is not a {kind.__name__} of {len(tree.children)}"
            items = value
    for child, item in zip(tree.children, items, strict=True):
        refusal = _collect(child, item, found)
        if refusal:
            return refusal
    return None


def rebuild(tree: Tree, leaves: Iterator[Tensor | Any]) -> Any:
    """The return value with ``leaves`` in its places."""
    match tree.kind:
        case TreeKind.LEAF:
            return next(leaves)
        case TreeKind.DICT:
            return {key: rebuild(c, leaves) for key, c in zip(tree.keys, tree.children, strict=True)}
        case TreeKind.LIST:
            return [rebuild(child, leaves) for child in tree.children]
        case _:
            return tuple(rebuild(child, leaves) for child in tree.children)
