"""What inductor wrote for the graphs of one bundle → C++ that compiles into one library. Torch-free.

Reading precompiled headers takes most of the time that the compiler spends on a small graph, so all wrappers
go into one file and all kernels into another.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence

_KERNEL_HEADER = re.compile(r"^#include <torch/csrc/inductor/cpp_prefix\.h>\n", re.M)
_KERNEL = re.compile(r'^extern "C"\s+void\s+(\w+)\(', re.M)
_CACHED = re.compile(r"^CACHE_TORCH_\w+\(\w+\);$", re.M)
_OWN_NAMES = (
    "AOTInductorModel",
    "AOTInductorModelKernels",
    "_check_aoti_runtime_check_inputs_env",
    "__check_inputs_outputs",
)
"""What every wrapper calls the same."""


@dataclasses.dataclass(frozen=True)
class Code:
    """The C++ of one graph, or of several: ``wrapper`` calls what ``kernels`` defines."""

    wrapper: str
    kernels: str


def with_own_container(wrapper: str, stock_include: str, stock_container: str) -> str | None:
    """``wrapper`` without AOTInductor's container; ``None`` where it is not written as expected.

    What checks arguments once more is left out too: the guards have done it.
    """
    if wrapper.count(stock_include) != 1 or wrapper.count(stock_container) != 1:
        return None
    text = wrapper.replace(stock_container, "").replace(stock_include, "")
    text = re.sub(r"^AOTI_NOINLINE static void check_input_\d+\(.*?^\}\n", "", text, flags=re.M | re.S)
    return re.sub(r"^\s*check_input_\d+\(input_handles\);\n", "", text, flags=re.M)


def joined(codes: Sequence[Code]) -> Code:
    """The code of all graphs; the library makes the n-th of them when it is asked for n, from 1.

    Kernels are named by what they compute, so that one that several graphs have is compiled once.
    """
    kernels: dict[str, str] = {}
    wrappers: list[str] = []
    cached: set[str] = set()
    for number, code in enumerate(codes, 1):
        names: dict[str, str] = {}
        for chunk in _KERNEL_HEADER.split(code.kernels):
            if chunk.strip():
                names |= _add_kernels(chunk, kernels)
        wrapper = _renamed(code.wrapper, names)
        for line in _CACHED.findall(wrapper):
            if line in cached:
                wrapper = wrapper.replace(f"{line}\n", "", 1)
            cached.add(line)
        wrappers.append(_graph(number, wrapper))
    models = ", ".join(f"torch::aot_inductor::AOTInductorModel_{n}" for n in range(1, len(codes) + 1))
    return Code("\n".join([*wrappers, f"TEZZERET_LIBRARY({models})\n"]), "\n".join(kernels.values()))


def _add_kernels(chunk: str, kernels: dict[str, str]) -> dict[str, str]:
    """Put the kernels that ``chunk`` defines among ``kernels``; their new names by the old ones."""
    found = _KERNEL.findall(chunk)
    nameless = _renamed(chunk, {name: f"kernel_{place}" for place, name in enumerate(found)})
    digest = hashlib.sha256(nameless.encode()).hexdigest()[:16]
    names = {name: f"kernel_{digest}_{place}" for place, name in enumerate(found)}
    includes = "".join(re.findall(r"^#include .*\n", chunk, re.M))
    body = re.sub(r"^#include .*\n", "", _renamed(chunk, names), flags=re.M)
    kernels.setdefault(digest, f"{includes}namespace kernels_{digest} {{\n{body}\n}}\n")
    return names


def _renamed(text: str, names: dict[str, str]) -> str:
    if not names:
        return text
    return re.sub(r"\b(" + "|".join(map(re.escape, names)) + r")\b", lambda found: names[found[1]], text)


def _graph(number: int, wrapper: str) -> str:
    before = "".join(f"#define {name} {name}_{number}\n" for name in _OWN_NAMES)
    after = "".join(f"#undef {name}\n" for name in _OWN_NAMES)
    return f"{before}TEZZERET_GRAPH(AOTInductorModel)\n{wrapper}\n{after}"
