"""Wrappers without what this program never calls, for ``native/lean.h``. Torch-free."""

from __future__ import annotations

import re

_GRAPH = re.compile(r"^TEZZERET_GRAPH\(AOTInductorModel\)$", re.M)
_KERNELS = re.compile(r"^namespace \{\nclass AOTInductorModelKernels : .*?^\};\n\}.*?$\n", re.M | re.S)
_NO_CODE = re.compile(r'^extern "C" \{\n(?:\s*extern const unsigned char __\w+_start\[\];\n)*\}\n', re.M)
_CONSTRUCTOR = re.compile(
    r"^AOTInductorModel::AOTInductorModel\(.*?: AOTInductorModelBase\((\d+),\s*(\d+),\s*0,.*?^\}\n",
    re.M | re.S,
)
_CONSTANTS = re.compile(
    r"^std::unordered_map<std::string, AtenTensorHandle> AOTInductorModel::const_run_impl\(.*?^\}\n",
    re.M | re.S,
)
_MORE_CONSTANTS = re.compile(r"^void AOTInductorModel::_const_run_impl\(.*?\{\}\n", re.M | re.S)
_ASKED = re.compile(r"^static bool _check_aoti_runtime_check_inputs_env\(\) \{\n.*?^\}\n", re.M | re.S)
_CHECKS = re.compile(r"^AOTI_NOINLINE static void __check_inputs_outputs\(.*?^\}\n", re.M | re.S)
_CHECKED = re.compile(r"^\s*__check_inputs_outputs\(.*?\);\n", re.M)
_ASSERTED = re.compile(r"^\s*if \(_check_aoti_runtime_check_inputs_env\(\)\) \{ .*? \}\n", re.M)
_KERNEL_TABLE = re.compile(r"^\s*\[\[maybe_unused\]\] auto& kernels = static_cast<.*\n", re.M)


def lean(wrapper: str) -> str | None:
    """``wrapper``, as ``sources.joined`` made it, with nothing of each graph but what runs it; ``None`` where
    it is not written as expected.

    Left out are constants, of which there are none; names of arguments; and what checks arguments once
    more when an environment variable asks for it, for the guards have done it.
    """
    before, *graphs = _GRAPH.split(wrapper)
    written = [before]
    for graph in graphs:
        sizes = _CONSTRUCTOR.findall(graph)
        if len(sizes) != 1:
            return None
        for dropped in (
            _KERNELS,
            _NO_CODE,
            _CONSTRUCTOR,
            _CONSTANTS,
            _MORE_CONSTANTS,
            _ASKED,
            _CHECKS,
            _CHECKED,
            _ASSERTED,
            _KERNEL_TABLE,
        ):
            graph = dropped.sub("", graph)
        inputs, outputs = sizes[0]
        written += [f"TEZZERET_LEAN_GRAPH(AOTInductorModel, {inputs}, {outputs})", graph]
    return "".join(written)
