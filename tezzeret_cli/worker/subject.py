"""The module under compilation with its tensors and example calls, in the manifest's terms."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from tezzeret_cli.model.job import Job
from tezzeret_cli.model.manifest import Constant, TensorSlot, Tree, TreeKind
from tezzeret_cli.worker.unsupported import Unsupported


@dataclasses.dataclass(frozen=True)
class Subject:
    """``tensors[i]`` is what slot ``slots[i]`` holds; aliases hold the same tensor object."""

    module: nn.Module
    slots: tuple[TensorSlot, ...]
    tensors: tuple[Tensor, ...]
    names: tuple[str, ...]

    @property
    def modules(self) -> tuple[str, ...]:
        """The dotted names of all submodules, parents first."""
        return tuple(name for name, _ in self.module.named_modules(remove_duplicate=False) if name)

    @property
    def switches_itself(self) -> bool:
        """Whether ``train()`` and ``eval()`` do more than set the flag."""
        return any(
            type(module).train is not nn.Module.train or type(module).eval is not nn.Module.eval
            for module in self.module.modules()
        )

    @classmethod
    def of(cls, module: nn.Module) -> Subject:
        slots, tensors = [], []
        first: dict[int, str] = {}
        for slot, tensor in _slots(module):
            name = first.setdefault(id(tensor), slot.name)
            slots.append(msgspec.structs.replace(slot, alias_of=None if name == slot.name else name))
            tensors.append(tensor)
        return cls(module, tuple(slots), tuple(tensors), _forward_names(module))

    def initial_state(self) -> dict[str, Tensor]:
        """A copy of every distinct tensor under its first name."""
        pairs = zip(self.slots, self.tensors, strict=True)
        return {slot.name: tensor.detach().clone() for slot, tensor in pairs if slot.alias_of is None}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put the values of ``initial_state`` back, and drop gradients."""
        with torch.no_grad():
            for slot, tensor in zip(self.slots, self.tensors, strict=True):
                if slot.alias_of is None:
                    tensor.copy_(state[slot.name])
                tensor.grad = None


_OWN_STATE = frozenset({"_parameters", "_modules", "training", "_is_torch_compile", "_compiled_call_impl"})


def python_state(module: nn.Module) -> dict[str, object]:
    """What a forward pass could change in the module besides the values of its tensors.

    Containers are described by their contents, tensors and everything else by identity. A compiled
    graph carries none of it, so a module that changes it cannot be served compiled.
    """
    return {
        f"{prefix}.{name}" if prefix else name: _described(value, 0)
        for prefix, child in module.named_modules()
        for name, value in vars(child).items()
        if name not in _OWN_STATE
    }


def _described(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if isinstance(value, dict) and depth < 4:
        return [(_described(k, depth + 1), _described(v, depth + 1)) for k, v in value.items()]
    if isinstance(value, list | tuple | set | frozenset) and depth < 4:
        return [type(value).__name__, *(_described(item, depth + 1) for item in value)]
    return id(value)


def _slots(module: nn.Module) -> Iterator[tuple[TensorSlot, Tensor]]:
    for name, parameter in module.named_parameters(remove_duplicate=False):
        yield _slot(name, parameter, is_parameter=True, persistent=True), parameter
    for prefix, child in module.named_modules(remove_duplicate=False):
        for key, buffer in child._buffers.items():
            if buffer is not None:
                name = f"{prefix}.{key}" if prefix else key
                persistent = key not in child._non_persistent_buffers_set
                yield _slot(name, buffer, is_parameter=False, persistent=persistent), buffer


def _slot(name: str, tensor: Tensor, *, is_parameter: bool, persistent: bool) -> TensorSlot:
    stride = None if tensor.is_contiguous() else tuple(tensor.stride())
    return TensorSlot(name, is_parameter, tensor.requires_grad, persistent, stride=stride)


def _forward_names(module: nn.Module) -> tuple[str, ...]:
    parameters = inspect.signature(module.forward).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(parameter.name for parameter in parameters if parameter.kind in positional)


def flatten_arguments(args: Sequence[Any], names: Sequence[str]) -> tuple[Tree, list[Tensor]]:
    """The tree of an example call and its tensors in order."""
    tensors: list[Tensor] = []
    children = tuple(_argument(arg, tensors) for arg in args)
    padded = tuple(names[: len(args)]) + tuple(f"arg{i}" for i in range(len(names), len(args)))
    return Tree(TreeKind.TUPLE, keys=padded, children=children), tensors


def _argument(value: Any, tensors: list[Tensor]) -> Tree:
    if isinstance(value, Tensor):
        tensors.append(value)
        return Tree(TreeKind.LEAF)
    if value is None or type(value) in (bool, int, float, str):
        return Tree(TreeKind.CONSTANT, constant=Constant.of(value))
    if type(value) in (tuple, list):
        kind = TreeKind.TUPLE if type(value) is tuple else TreeKind.LIST
        return Tree(kind, children=tuple(_argument(item, tensors) for item in value))
    if type(value) is dict and all(type(key) is str for key in value):
        children = tuple(_argument(item, tensors) for item in value.values())
        return Tree(TreeKind.DICT, keys=tuple(value), children=children)
    raise Unsupported(f"an argument of type {type(value).__name__} has no description in a manifest")


def unflatten_arguments(tree: Tree, tensors: Sequence[Tensor]) -> tuple[Any, ...]:
    """The call that ``flatten_arguments`` described, with other tensors in its leaves."""
    remaining = iter(tensors)
    return tuple(_rebuild(child, remaining) for child in tree.children)


def _rebuild(tree: Tree, tensors: Iterator[Tensor]) -> Any:
    match tree.kind:
        case TreeKind.LEAF:
            return next(tensors)
        case TreeKind.CONSTANT:
            return tree.constant.value if tree.constant else None
        case TreeKind.DICT:
            return {k: _rebuild(c, tensors) for k, c in zip(tree.keys, tree.children, strict=True)}
        case TreeKind.LIST:
            return [_rebuild(child, tensors) for child in tree.children]
        case _:
            return tuple(_rebuild(child, tensors) for child in tree.children)


def example_calls(job: Job, given: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The representative calls of a job: the factory's own, or the profile's shapes applied to them.

    Floating tensors get the job's dtype and fresh normal values where the shape changes; integer ones
    repeat values of the example so that they stay in range. Raises ``ValueError`` when a profile names
    another number of tensor inputs than the factory takes.
    """
    if not job.examples:
        return [_with_dtype(call, job.dtype) for call in given]
    calls = []
    for example in job.examples:
        tree, tensors = flatten_arguments(given[0], ())
        if len(example.shapes) != len(tensors):
            raise ValueError(
                f"the profile gives {len(example.shapes)} input shapes, the module takes {len(tensors)}"
            )
        pairs = zip(tensors, example.shapes, strict=True)
        resized = [_resized(tensor, shape) for tensor, shape in pairs]
        calls.append(_with_dtype(unflatten_arguments(tree, resized), job.dtype))
    return calls


def _resized(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(tensor.shape) == shape:
        return tensor
    if tensor.is_floating_point() or tensor.is_complex():
        return torch.randn(shape, dtype=tensor.dtype)
    values = tensor.flatten()
    return values[torch.randint(len(values), shape)]


def _with_dtype(call: tuple[Any, ...], dtype: str | None) -> tuple[Any, ...]:
    if dtype is None:
        return call
    wanted = getattr(torch, dtype)
    tree, tensors = flatten_arguments(call, ())
    return unflatten_arguments(tree, [t.to(wanted) if t.is_floating_point() else t for t in tensors])


def fresh_inputs(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copies to call with: on the device, requiring a gradient where the dtype allows one, and (as a
    host network's activations are) not leaves of autograd."""
    copies = []
    for tensor in tensors:
        copy = tensor.detach().to(device, copy=True)
        if copy.is_floating_point() or copy.is_complex():
            copy = copy.requires_grad_(True).clone()
        copies.append(copy)
    return copies
