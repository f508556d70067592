"""The C++ compiler's side of a library, with the real compiler and without torch's code."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.wrappers import graph
from tezzeret_cli.files import lock_file
from tezzeret_cli.worker.sources import Code, joined
from tezzeret_cli.worker.toolchain import CompilerError, Flags, Toolchain

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")


C_INTERFACE = """#pragma once
#include <cstddef>
#include <cstdint>
struct Opaque; using AtenTensorHandle = Opaque*; using AOTIProxyExecutorHandle = Opaque*;
using AOTITorchError = int32_t;
enum { AOTI_TORCH_SUCCESS = 0 };
extern "C" int32_t aoti_torch_delete_tensor_object(...), aoti_torch_get_size(...), aoti_torch_get_stride(...),
    aoti_torch_get_sizes(...), aoti_torch_get_strides(...), aoti_torch_get_storage_offset(...),
    aoti_torch_get_data_ptr(...), aoti_torch__reinterpret_tensor(...);
inline bool aoti_torch_grad_mode_is_enabled() { return true; }
inline void aoti_torch_grad_mode_set_enabled(bool) {}
"""
DISPATCHER = """#pragma once
#define TORCH_VERSION_2_10_0 0
using StableIValue = uint64_t; using StableListHandle = Opaque*;
extern "C" int32_t aoti_torch_new_tensor_handle(...), aoti_torch_assign_tensors(...),
    torch_new_list_reserve_size(...), torch_list_push_back(...), torch_call_dispatcher(...);
"""
HELPERS = """#pragma once
#include <torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h>
using ConstantHandle = Opaque*; using AOTIRuntimeError = int;
enum { AOTI_RUNTIME_SUCCESS = 0, AOTI_RUNTIME_FAILURE = 1 };
#define AOTI_NOINLINE
inline int steal_from_raw_handles_to_raii_handles(AtenTensorHandle*, int) { return 0; }
"""


@pytest.fixture
def flags(tmp_path):
    """Headers stand in for torch's, which take seconds to read."""
    include = tmp_path / "include"
    headers = {
        "c10/util/generic_math.h": "",
        "kernels.h": "",
        "torch/csrc/inductor/aoti_runtime/scalar_to_tensor.h": "",
        "torch/csrc/inductor/aoti_runtime/utils.h": HELPERS,
        "torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h": C_INTERFACE,
        "torch/csrc/stable/c/shim.h": DISPATCHER,
    }
    for name, text in headers.items():
        (include / name).parent.mkdir(parents=True, exist_ok=True)
        (include / name).write_text(text)
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


def test_nobody_waits_for_a_header_that_another_precompiles(flags, tmp_path):
    toolchain = Toolchain(flags, tmp_path / "shared")
    folder = tmp_path / "scratch"
    folder.mkdir()
    headers = tmp_path / "shared" / "headers"
    none = "Model* make_graph(size_t, const std::string&) { return nullptr; }\n"
    toolchain.build(Code(none, "int a;", {}), folder)
    made = sorted(headers.glob("*.gch"))
    assert len(made) == 2
    for path in made:
        path.unlink()
    locks = [lock_file(path) for path in headers.glob("*.lock")]
    toolchain.build(Code(none + "int b;", "int c;", {}), folder)
    assert not list(headers.glob("*.gch"))
    for lock in locks:
        lock.release()
    toolchain.build(Code(none + "int d;", "int e;", {}), folder)
    assert sorted(headers.glob("*.gch")) == made


LARGE = """
#include <cstdint>
extern "C" {
int deleted = 0;
int32_t aoti_torch_get_data_ptr(void* tensor, void** data) { *data = tensor; return tensor == nullptr; }
int32_t aoti_torch_delete_tensor_object(void*) { deleted++; return 0; }
bool aoti_torch_grad_mode_is_enabled() { return true; }
void aoti_torch_grad_mode_set_enabled(bool) {}
}
"""
"""Stands for torch's library: a tensor is a pointer to its values."""

KERNEL = 'extern "C" void add(float* a, float b) { *a += b; }'
FIRST = """
    auto a = std::move(inputs[0]);
    inputs.clear();
    add(static_cast<float*>(a.data_ptr()), 1);
    output_handles[0] = a.release();
"""
SECOND = FIRST.replace("1);", "2);")


@pytest.fixture
def lean(flags, tmp_path):
    """Flags for lean wrappers with torch's own header of its C interface, and a library to link with."""
    found = importlib.util.find_spec("torch")
    assert found is not None
    assert found.origin is not None
    large = tmp_path / "liblarge.so"
    (tmp_path / "large.cpp").write_text(LARGE)
    subprocess.run(
        ["g++", "-shared", "-fPIC", "-Wl,-soname,liblarge.so", "-o", large, tmp_path / "large.cpp"],
        check=True,
    )
    return dataclasses.replace(
        flags,
        includes=(str(tmp_path / "include/kernels"), str(Path(found.origin).parent / "include")),
        kernel_header="cstdint",
        link=(f"-L{tmp_path}", "-llarge"),
        lean=True,
        stand_ins=(str(large),),
    )


def opened(large, library):
    # Not for all: bundles that this process opens later would take what has torch's names from it.
    torch, made = ctypes.CDLL(str(large)), ctypes.CDLL(str(library))

    def run(number, device, *inputs):
        """The graph's result, or the error that the library has kept."""
        model, result = ctypes.c_void_p(), ctypes.c_void_p()
        handles = (ctypes.c_void_p * len(inputs))(*inputs)
        failed = made.AOTInductorModelContainerCreateWithDevice(
            ctypes.byref(model), ctypes.c_size_t(number), device, None
        ) or made.AOTInductorModelContainerRun(
            model, handles, ctypes.c_size_t(len(inputs)), ctypes.byref(result), ctypes.c_size_t(1), None, None
        )
        said = ctypes.c_char_p()
        made.AOTInductorGetLastError(ctypes.byref(said))
        return said.value if failed else result.value

    return torch, run


def test_a_lean_library_runs_its_graphs_and_says_what_failed(lean, tmp_path):
    codes = [Code(graph(2, 1, "add", body), KERNEL) for body in (FIRST, SECOND)]
    toolchain = Toolchain(lean, tmp_path / "shared")
    library = toolchain.build(joined(codes), tmp_path)
    assert toolchain.notes == []
    assert b"basic_ostream" not in library.read_bytes()

    torch, run = opened(tmp_path / "liblarge.so", library)
    value, other = ctypes.c_float(1), ctypes.c_float(0)
    for number, expected in ((1, 2), (2, 4)):
        assert run(number, b"cpu", ctypes.addressof(value), ctypes.addressof(other)) == ctypes.addressof(
            value
        )
        assert value.value == expected
        assert ctypes.c_int.in_dll(torch, "deleted").value == number
    assert b"aoti_torch_get_data_ptr" in run(1, b"cpu", None, None)
    assert run(1, b"cpu", None) == b"wrong number of inputs or outputs"
    assert run(3, b"cpu", None) == b"this library has no graph of that number"
    assert run(1, b"cuda:0", None) == b"this library is for the CPU"


def test_a_library_is_linked_as_with_the_one_that_is_stood_in_for(lean, tmp_path):
    code = joined([Code(graph(2, 1, "add", FIRST), KERNEL)])
    needed = []
    for stand_ins in ((), lean.stand_ins):
        flags = dataclasses.replace(lean, stand_ins=stand_ins)
        library = Toolchain(flags, tmp_path / "shared").build(code, tmp_path)
        listed = subprocess.run(["readelf", "-dW", library], check=True, capture_output=True, text=True)
        needed.append([line.split()[-1] for line in listed.stdout.splitlines() if "NEEDED" in line])
    assert needed[0] == needed[1]
    assert "[liblarge.so]" in needed[1]
    (stand_in,) = (tmp_path / "shared/stand-ins").glob("*/liblarge.so")
    assert stand_in.stat().st_size < (tmp_path / "liblarge.so").stat().st_size


def test_a_wrapper_that_needs_more_than_the_lean_header_has_is_compiled_with_the_whole_one(flags, tmp_path):
    body = "    std::to_string(1);\n"
    toolchain = Toolchain(dataclasses.replace(flags, lean=True), tmp_path / "shared")
    library = toolchain.build(joined([Code(graph(1, 1, "add", body), KERNEL)]), tmp_path)
    assert library.exists()
    (note,) = toolchain.notes
    assert "to_string" in note
