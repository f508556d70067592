"""The code of several graphs in one file: names do not meet, what is the same is there once."""

from __future__ import annotations

import re

from tezzeret_cli.worker.sources import Code, cubin_symbol, joined

INCLUDE = "#include <torch/csrc/inductor/cpp_prefix.h>\n"


def kernel(name: str, body: str) -> str:
    head = f'extern "C"  void  {name}(const float* in_ptr0,\n    float* out_ptr0)'
    return f"{INCLUDE}{head}\n{{\n    {body};\n}}\n\n"


def wrapper(*kernels: str) -> str:
    declared = "".join(
        f'extern "C"  void  {name}(const float* in_ptr0, float* out_ptr0);\n' for name in kernels
    )
    called = "".join(f"    {name}(a, b);\n" for name in kernels)
    return f"{declared}CACHE_TORCH_DTYPE(float32);\nvoid AOTInductorModel::run_impl() {{\n{called}}}\n"


def test_declarations_before_the_first_namespace_are_renamed_with_what_they_declare():
    codes = [
        Code(
            wrapper("cpp_fused_0").replace("CACHE", "namespace torch::aot_inductor {\n}\nCACHE"),
            kernel("cpp_fused_0", body),
        )
        for body in ("one", "two")
    ]
    made = joined(codes)
    declared = re.findall(r'extern "C"\s+void\s+(\w+)\(', made.wrapper)
    assert declared == re.findall(r"(\w+)\(a, b\)", made.wrapper)
    assert len(set(declared)) == 2


def test_a_kernel_that_two_graphs_have_is_compiled_once():
    first = Code(wrapper("cpp_fused_relu_0"), kernel("cpp_fused_relu_0", "relu"))
    second = Code(
        wrapper("cpp_fused_mul_0", "cpp_fused_relu_1"),
        kernel("cpp_fused_mul_0", "mul") + kernel("cpp_fused_relu_1", "relu"),
    )
    made = joined([first, second])
    defined = re.findall(r'extern "C"\s+void\s+(\w+)\(', made.kernels)
    assert len(defined) == len(set(defined)) == 2
    assert set(re.findall(r"(\w+)\(a, b\)", made.wrapper)) == set(defined)


def test_kernels_of_one_name_that_differ_are_both_there():
    codes = [Code(wrapper("cpp_fused_0"), kernel("cpp_fused_0", body)) for body in ("one", "two")]
    made = joined(codes)
    called = re.findall(r"(\w+)\(a, b\)", made.wrapper)
    assert len(set(called)) == 2
    for name, body in zip(called, ("one", "two"), strict=True):
        assert re.search(rf"{name}\(const float\* in_ptr0,\s+float\* out_ptr0\)\s+{{\s+{body}", made.kernels)


def test_a_name_that_begins_another_is_not_taken_for_it():
    code = Code(
        wrapper("cpp_fused_1", "cpp_fused_10"), kernel("cpp_fused_1", "one") + kernel("cpp_fused_10", "ten")
    )
    made = joined([code])
    assert "cpp_fused" not in made.wrapper + made.kernels


def test_helpers_before_a_kernel_stay_with_it():
    chunk = "#include <vector>\ntemplate <int N> int helper() { return N; }\n"
    codes = [
        Code(wrapper("k"), kernel("k", f"helper<{n}>()").replace(INCLUDE, INCLUDE + chunk)) for n in (1, 2)
    ]
    made = joined(codes)
    assert made.kernels.count("template <int N> int helper") == 2
    assert len(set(re.findall(r"^namespace (\w+)", made.kernels, re.M))) == 2
    assert not re.search(r"namespace \w+ \{[^}]*#include", made.kernels)


def test_every_graph_is_a_class_of_its_own_and_cached_values_are_defined_once():
    made = joined([Code(wrapper("k"), kernel("k", str(n))) for n in range(3)])
    assert made.wrapper.count("CACHE_TORCH_DTYPE(float32);") == 1
    assert made.wrapper.count("TEZZERET_GRAPH(AOTInductorModel)") == 3
    assert "#define AOTInductorModel AOTInductorModel_3\n" in made.wrapper
    last = made.wrapper.splitlines()[-1]
    assert re.findall(r"AOTInductorModel_(\d)", last) == ["1", "2", "3"]


PREAMBLE = "static inline void launchKernel();\n"


def gpu_wrapper(*kernels: str) -> str:
    declared = "".join(f"    extern const unsigned char __{name}_start[];\n" for name in kernels)
    defined = "".join(
        f'static inline void call_{name}() {{ loadKernel(__{name}_start, "{name}", 0); }}\n'
        for name in kernels
    )
    called = "".join(f"    call_{name}();\n" for name in kernels)
    return (
        f'{PREAMBLE}namespace torch::aot_inductor {{\nextern "C" {{\n{declared}}}\n}}\n{defined}'
        f"void AOTInductorModel::run_impl() {{\n{called}}}\n"
    )


def gpu_code(**kernels: bytes) -> Code:
    return Code(gpu_wrapper(*kernels), "", {cubin_symbol(name): data for name, data in kernels.items()})


def test_a_cubin_that_two_graphs_have_is_there_once_and_names_that_differ_are_kept_apart():
    made = joined([gpu_code(triton_0=b"relu", triton_1=b"mul"), gpu_code(triton_0=b"add", triton_2=b"mul")])
    assert sorted(made.cubins.values()) == [b"add", b"mul", b"relu"]
    loaded = re.findall(r'call_(\w+)\(\) \{ loadKernel\((\w+), "(\w+)"', made.wrapper)
    found = {call: (made.cubins[symbol], entry) for call, symbol, entry in loaded}
    assert found == {
        "triton_0_1": (b"relu", "triton_0"),
        "triton_1_1": (b"mul", "triton_1"),
        "triton_0_2": (b"add", "triton_0"),
        "triton_2_2": (b"mul", "triton_2"),
    }
    assert {f"call_{name}();" for name in found} == set(re.findall(r"call_\w+\(\);", made.wrapper))


def test_what_wrappers_for_a_device_begin_with_is_there_once():
    made = joined([gpu_code(k=b"1"), gpu_code(k=b"2")])
    assert made.wrapper.count(PREAMBLE.strip()) == 1
    assert made.wrapper.index(PREAMBLE.strip()) < made.wrapper.index("#define AOTInductorModel")
