"""The C++ compiler's side of a library, with the real compiler and without torch's code."""

from __future__ import annotations

import ctypes
import shutil

import pytest

from tezzeret_cli.worker.sources import Code
from tezzeret_cli.worker.toolchain import CompilerError, Flags, Toolchain

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")


@pytest.fixture
def flags(tmp_path):
    """Headers stand in for torch's, which take seconds to read."""
    include = tmp_path / "include"
    headers = (
        "c10/util/generic_math.h",
        "torch/csrc/inductor/aoti_runtime/scalar_to_tensor.h",
        "torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h",
    )
    for name in (*headers, "kernels.h"):
        (include / name).parent.mkdir(parents=True, exist_ok=True)
        (include / name).write_text("")
    (include / "torch/csrc/inductor/aoti_runtime/utils.h").write_text(
        "#pragma once\n#include <cstddef>\n"
        "struct Opaque; using AtenTensorHandle = Opaque*; using AOTIProxyExecutorHandle = Opaque*;\n"
        "using ConstantHandle = Opaque*; using AOTIRuntimeError = int;\n"
        "enum { AOTI_RUNTIME_SUCCESS = 0, AOTI_RUNTIME_FAILURE = 1 };\n"
        "inline bool aoti_torch_grad_mode_is_enabled() { return true; }\n"
        "inline void aoti_torch_grad_mode_set_enabled(bool) {}\n"
    )
    return Flags("g++", "none", (str(include),), ("-O0",), ("-O0",), "kernels.h", ())


EMBEDDED = """
extern "C" { extern const unsigned char cubin_a[]; extern const unsigned char cubin_b[]; }
TEZZERET_API const unsigned char* AOTInductorA() { return cubin_a; }
TEZZERET_API const unsigned char* AOTInductorB() { return cubin_b; }
Model* make_graph(size_t, const std::string&) { return nullptr; }
"""


def test_a_gpus_machine_code_is_in_the_library_as_it_is(flags, tmp_path):
    cubins = {"cubin_a": b"\x7fELF\0" + bytes(range(250)), "cubin_b": b"second"}
    folder = tmp_path / "scratch"
    folder.mkdir()
    library = Toolchain(flags, tmp_path / "shared").build(Code(EMBEDDED, "", cubins), folder)
    opened = ctypes.CDLL(str(library))
    for function, data in (
        (opened.AOTInductorA, b"\x7fELF\0" + bytes(range(250))),
        (opened.AOTInductorB, b"second"),
    ):
        function.restype = ctypes.c_void_p
        assert ctypes.string_at(function(), len(data)) == data
        assert function() % 16 == 0


def test_what_the_compiler_says_is_in_the_error(flags, tmp_path):
    with pytest.raises(CompilerError, match="nonsense") as refused:
        Toolchain(flags, tmp_path / "shared").build(Code("nonsense here;", ""), tmp_path)
    assert "wrapper.cpp" in refused.value.output
