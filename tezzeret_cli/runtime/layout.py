"""Where a module instance keeps its tensors, and whether somebody took it apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from tezzeret_cli.errors import EagerUnavailableError
from tezzeret_cli.model.manifest import Manifest
from tezzeret_cli.runtime import private


class Node(nn.Module):
    """A submodule of the eager module, holding its parameters and buffers under their names."""


def is_hooked(module: nn.Module) -> bool:
    """Whether something is registered to run around its calls."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


class Layout:
    """Where a module instance keeps its tensors, for reading them quickly and seeing replacements. ``nodes``
    are its submodules, and itself, by dotted name, parents first."""

    def __init__(self, module: nn.Module, manifest: Manifest) -> None:
        self.nodes: dict[str, nn.Module] = {"": module}
        self._children: list[tuple[dict[str, Any], str, nn.Module]] = []
        self.module = module
        self._foreign = ""
        self._slots: list[tuple[dict[str, Any], str]] = []
        self._aliases: list[tuple[int, int]] = []
        nodes = self.nodes
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
            if children.get(key) is not child or is_hooked(child):
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
            if is_hooked(child):
                return f"its submodule {key!r} has a hook"
        return None

    def places(self) -> Iterator[tuple[str, tuple[dict[str, Any], str, nn.Module]]]:
        """For each submodule its dotted name; its siblings, its key among them, and the submodule itself."""
        yield from zip(list(self.nodes)[1:], self._children, strict=True)

    def mode_is(self, training: bool) -> bool:
        """Whether the module and all its submodules are in this mode."""
        if self.module.training is not training:
            return False
        return all(child.training is training for _, _, child in self._children)


def lookup(module: nn.Module, name: str) -> Tensor:
    """The tensor of that dotted name. Raises ``EagerUnavailableError`` where there is none any more."""
    parent, _, key = name.rpartition(".")
    tensor = getattr(module.get_submodule(parent), key, None)
    if not isinstance(tensor, Tensor):
        raise EagerUnavailableError(f"{name} is no tensor any more", advice="load the bundle anew")
    return tensor
