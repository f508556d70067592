"""Operations that torch's C interface has no function for → calls through its dispatcher. Torch-free.

Inductor leaves them to AOTInductor's proxy executor: generated code names a node of a JSON file and hands
over what is known only when the graph runs, integers and tensors. Complex numbers, Fourier transforms and
bags of embeddings need some. Here each becomes a call of its own, written with ``native/dispatched.h``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tezzeret_cli.worker.unsupported import Unsupported

_LEFT_TO_EXECUTOR = re.compile(
    r"aoti_torch_proxy_executor_call_function\(proxy_executor, (\d+), "
    r"\d+, ([^{}]+\{[^{}]*\}\.data\(\)), \d+, ([^{}]+\{[^{}]*\}\.data\(\))\)"
)
_OPTIONAL = re.compile(r"Optional\[(.*)\]")
_LIST = re.compile(r"List\[(.*)\]")
_OWN = "aten::"

ENUMS = {"ScalarType": "dtype", "Layout": "layout", "MemoryFormat": "memory_format"}
"""By an argument's type: what functions of torch's C interface call its values."""


@dataclasses.dataclass(frozen=True)
class Argument:
    """``type`` as torch writes it, such as ``Optional[List[int]]``."""

    name: str
    type: str
    default: Any


@dataclasses.dataclass(frozen=True)
class Operation:
    """A signature; ``results`` are types."""

    arguments: Sequence[Argument]
    results: Sequence[str]


Operations = Callable[[str], Operation]
"""Signatures by name, such as ``aten::slice.Tensor``."""

EnumNames = Callable[[str, int], str]
"""What the C interface calls the value of one of ``ENUMS`` that has this number in the file."""


def dispatched(wrapper: str, nodes: str | None, operations: Operations, enum_names: EnumNames) -> str:
    """``wrapper`` with a call through the dispatcher where it had one of the proxy executor.

    ``nodes`` is the JSON file, if there is one. Raises ``Unsupported``, which names the operation, where one
    cannot be called so.
    """
    if not nodes:
        return wrapper
    described = [item["node"] for item in json.loads(nodes)["nodes"]]
    calls = [_Call(node, operations, enum_names) for node in described]

    def written(found: re.Match[str]) -> str:
        call = calls[int(found[1])]
        return f"tezzeret::Call<{call.depth}>({found[2]}, {found[3]}){call.members}"

    text, count = _LEFT_TO_EXECUTOR.subn(written, wrapper)
    if count != len(calls):
        names = ", ".join(dict.fromkeys(node["target"] for node in described))
        raise Unsupported(f"it needs {names}, calls of which were not written as expected")
    return text


class _Call:
    """The members of ``tezzeret::Call`` that make one call, and how many values they stack at most."""

    def __init__(self, node: Mapping[str, Any], operations: Operations, enum_names: EnumNames) -> None:
        self._target = str(node["target"])
        self._enum_names = enum_names
        self._members: list[str] = []
        if not self._target.startswith(_OWN):
            raise Unsupported(f"it needs {self._target}, which is not one of torch's own operations")
        operation = operations(self._target)
        given = {item["name"]: item["arg"] for item in node["inputs"]}
        name = self._target
        arguments = list(operation.arguments)
        if name == "aten::full" and (constant := _constant(given)) is not None:
            # Numbers of any type have no form in the dispatcher's C interface.
            name = f"{_OWN}{constant}"
            del given["fill_value"]
            arguments = [argument for argument in arguments if argument.name != "fill_value"]
        if list(given) != [argument.name for argument in arguments if argument.name in given]:
            raise Unsupported(f"it needs {self._target}, whose arguments are in another order than expected")
        for argument in arguments:
            value = given.get(argument.name)
            self._argument(argument.type, {"default": argument.default} if value is None else value)
        self.depth = max(1, len(self._members), len(operation.results))
        base, _, overload = name.partition(".")
        self._members.append(f'call("{base}", "{overload}")')
        outputs = [*node["outputs"], *[{"as_none": True}] * len(operation.results)]
        for kind, output in zip(operation.results, outputs, strict=False):
            if kind != "Tensor" or not output.keys() & {"as_tensor", "as_none"}:
                raise Unsupported(f"it needs {self._target}, which returns a {kind}")
            self._members.append("result()" if "as_tensor" in output else "unused()")

    @property
    def members(self) -> str:
        return "".join(f".{member}" for member in self._members)

    def _argument(self, kind: str, given: Mapping[str, Any]) -> None:
        ((form, value),) = given.items()
        add = self._members.append
        if optional := _OPTIONAL.fullmatch(kind):
            if form == "as_none" or value is None:
                add("none()")
            else:
                self._argument(optional[1], given)
                add("some()")
        elif (of := _LIST.fullmatch(kind)) and isinstance(value, list):
            for item in value:
                self._argument(of[1], item if isinstance(item, dict) and form in _OF_DICTS else {form: item})
            add(f"list({len(value)})")
        elif kind == "Tensor" and form in ("as_tensor", "as_tensors"):
            add("tensor()")
        elif kind == "int" and form in _INTEGERS:
            add("integer()")
        elif kind == "int" and form == "default":
            add(f"put(int64_t({value}))")
        elif kind == "bool" and isinstance(value, bool):
            add(f"put({str(value).lower()})")
        elif kind == "float" and isinstance(value, int | float) and math.isfinite(value):
            add(f"put(double({float(value)!r}))")
        elif kind in ENUMS and isinstance(value, int):
            add(f"put(aoti_torch_{ENUMS[kind]}_{self._enum_names(kind, value)}())")
        elif kind == "Device" and form == "as_device":
            index = "-1" if value["type"] == "cpu" else "this->device_idx_"
            add(f"device(aoti_torch_device_type_{value['type']}(), {index})")
        else:
            raise Unsupported(f"it needs {self._target}, which takes a {kind} that cannot be handed over")


_INTEGERS = ("as_int", "as_sym_int", "as_ints", "as_sym_ints")
_OF_DICTS = ("as_optional_tensors",)
"""Forms of lists whose items say their own form."""


def _constant(given: Mapping[str, Any]) -> str | None:
    """What fills with the same value as these arguments of ``full``, whose type does not follow the value."""
    ((form, value),) = given["fill_value"].items()
    if form not in ("as_int", "as_float") or "as_scalar_type" not in given.get("dtype", ()):
        return None
    return {0: "zeros", 1: "ones"}.get(value)
