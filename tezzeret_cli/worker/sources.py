"""What inductor wrote for the graphs of one bundle → C++ that compiles into one library. Torch-free.

Reading precompiled headers takes most of the time that the compiler spends on a small graph, so all wrappers
go into one file and all kernels into another. A GPU's kernels are machine code already (cubins); the library
holds each once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence

_KERNEL_HEADER = re.compile(r"^#include <torch/csrc/inductor/cpp_prefix\.h>\n", re.M)
_KERNEL = re.compile(r'^extern "C"\s+void\s+(\w+)\(', re.M)
_DECLARED = re.compile(r'^extern "C"\s+void\s+\w+\([^;{]*\);\n', re.M)
_CACHED = re.compile(r"^CACHE_TORCH_\w+\(\w+\);$", re.M)
_FIRST_NAMESPACE = re.compile(r"^namespace torch::aot_inductor \{$", re.M)
_LOADED = re.compile(r"\bloadKernel\(__(\w+)_start,")
_OWN_NAMES = (
    "AOTInductorModel",
    "AOTInductorModelKernels",
    "_check_aoti_runtime_check_inputs_env",
    "__check_inputs_outputs",
)
"""What every wrapper calls the same."""


@dataclasses.dataclass(frozen=True)
class Code:
    """The C++ of one graph, or of several: ``wrapper`` calls what ``kernels`` defines, and loads onto the
    GPU what ``cubins`` holds: machine code by the symbol at which it begins."""

    wrapper: str
    kernels: str
    cubins: Mapping[str, bytes] = dataclasses.field(default_factory=dict)


def cubin_names(wrapper: str) -> list[str]:
    """The GPU kernels whose machine code ``wrapper`` expects in its library."""
    return list(dict.fromkeys(_LOADED.findall(wrapper)))


def cubin_symbol(name: str) -> str:
    """Where ``wrapper`` expects the machine code of the GPU kernel ``name`` to begin."""
    return f"__{name}_start"


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

    Kernels are named by what they compute, so that one that several graphs have is compiled once; cubins by
    what they are.
    """
    kernels: dict[str, str] = {}
    cubins: dict[str, bytes] = {}
    wrappers: list[str] = []
    cached: set[str] = set()
    preambles: set[str] = set()
    for number, code in enumerate(codes, 1):
        names = _add_cubins(number, code, cubins)
        for chunk in _KERNEL_HEADER.split(code.kernels):
            if chunk.strip():
                names |= _add_kernels(chunk, kernels)
        new, wrapper = _without_cached(code.wrapper, cached)
        preamble, wrapper = _without_preamble(wrapper)
        if preamble not in preambles:
            preambles.add(preamble)
            wrappers.append(preamble)
        wrappers += [*new, _graph(number, _renamed(wrapper, names))]
    models = ", ".join(f"torch::aot_inductor::AOTInductorModel_{n}" for n in range(1, len(codes) + 1))
    wrapper = "\n".join([*wrappers, f"TEZZERET_LIBRARY({models})\n"])
    return Code(wrapper, "\n".join(kernels.values()), cubins)


def _without_cached(wrapper: str, cached: set[str]) -> tuple[list[str], str]:
    """The lines for values found once only, those that ``cached`` has not; ``wrapper`` without any."""
    lines = [line for line in dict.fromkeys(_CACHED.findall(wrapper)) if line not in cached]
    cached.update(lines)
    return lines, re.sub(f"{_CACHED.pattern}\n?", "", wrapper, flags=re.M)


def _without_preamble(wrapper: str) -> tuple[str, str]:
    """What all wrappers for a device begin with; the rest, with declarations of this one's kernels."""
    begin = _FIRST_NAMESPACE.search(wrapper)
    at = begin.start() if begin else 0
    declared = _DECLARED.findall(wrapper[:at])
    return _DECLARED.sub("", wrapper[:at]).strip(), "".join([*declared, wrapper[at:]])


def _add_cubins(number: int, code: Code, cubins: dict[str, bytes]) -> dict[str, str]:
    """Put the cubins of the ``number``-th graph among ``cubins``; what names them, and calls them, anew."""
    names: dict[str, str] = {}
    for kernel in cubin_names(code.wrapper):
        symbol = cubin_symbol(kernel)
        data = code.cubins[symbol]
        digest = hashlib.sha256(data).hexdigest()[:16]
        cubins[f"cubin_{digest}"] = data
        names |= {symbol: f"cubin_{digest}", f"call_{kernel}": f"call_{kernel}_{number}"}
    return names


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
