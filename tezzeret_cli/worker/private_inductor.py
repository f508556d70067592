"""Inductor's private modules: a graph becomes C++, and that a library.

What is relied on: ``compile_fx_inner`` in AOT mode writes C++ for each graph and hands it to
``AotCodeCompiler``.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch._inductor.config
from torch._export.serde import serialize
from torch._guards import TracingContext
from torch._inductor import codecache, cpp_builder, cpu_vec_isa
from torch._inductor.codecache import AotCodeCompiler, CudaKernelParamCache
from torch._inductor.codegen import cpp_wrapper_cpu
from torch._inductor.compile_fx import compile_fx_inner
from torch._inductor.dtype_propagation import DtypePropagationOpsHandler
from torch._inductor.virtualized import V
from torch.fx import GraphModule

from tezzeret_cli.model.job import Strategy
from tezzeret_cli.worker.dispatched import Argument, Operation, dispatched
from tezzeret_cli.worker.private import several_threads, shape_config
from tezzeret_cli.worker.private_indices import indices_multiplied_out
from tezzeret_cli.worker.private_openmp import one_thread_for_little_work
from tezzeret_cli.worker.private_sizes import any_batch
from tezzeret_cli.worker.sources import Code, cubin_names, cubin_symbol, with_own_container
from tezzeret_cli.worker.toolchain import Flags


def compile_library(
    graph: GraphModule,
    fake_inputs: Sequence[Any],
    *,
    context: TracingContext | None,
    backward: bool,
    inference: bool,
    device: torch.device,
    patch: dict[str, Any],
    output: Path,
    strategy: Strategy,
    take: Callable[[Code, Flags], bool],
    not_taken: Callable[[str], None],
) -> list[Path]:
    """Compile one graph of tensors: every file that inductor's builder left below ``output``, none where the
    code was taken.

    ``patch`` goes over inductor's configuration. ``strategy`` says how its code is to be compiled. ``take``
    is given the code of a graph that needs nothing beside its library; what it does not want, and all
    others, inductor's own builder compiles, and ``not_taken`` is told why. Raises inductor's errors and those
    of ``take``.
    """
    settings = {
        "cpp_wrapper": True,
        "fx_graph_cache": False,
        "fallback_random": True,
        "compile_threads": 1,
        "aot_inductor.package": True,
        "aot_inductor.output_path": str(output),
        **patch,
    }
    if device.type == "cuda":
        settings |= _CUDA
    tracing = torch._guards.tracing(context) if context else contextlib.nullcontext()
    oblivious = shape_config.patch(backed_size_oblivious=True)
    threads = several_threads()
    with (
        torch._inductor.config.patch(settings),
        V.set_aot_compilation(True),
        tracing,
        oblivious,
        threads,
        any_batch(),
        one_thread_for_little_work(),
        indices_multiplied_out(),
        _type_rules_made_once(),
        _code_given_to(take, not_taken, strategy),
    ):
        compiled: Any = compile_fx_inner(
            graph,
            list(fake_inputs),
            aot_mode=True,
            cpp_wrapper=True,
            is_inference=inference,
            is_backward=backward,
            static_input_idxs=(),
        )
    return [Path(file) for file in compiled.filename if isinstance(file, str) and file != _TAKEN]


_CUDA = {
    "triton.autotune_at_compile_time": True,
    "triton.autotune_cublasLt": False,
    "triton.cudagraphs": False,
    "triton.store_cubin": True,
}
"""What inductor's own entry sets for a wrapper in C++; ours goes in behind it."""


@contextlib.contextmanager
def _type_rules_made_once() -> Iterator[None]:
    """Inductor has one table of how the types of results follow, and fills it anew each time that it looks
    something up there, thousands of times a graph."""
    DtypePropagationOpsHandler()
    fill = vars(DtypePropagationOpsHandler)["__init__"]
    setattr(DtypePropagationOpsHandler, "__init__", lambda self: None)  # noqa: B010
    try:
        yield
    finally:
        setattr(DtypePropagationOpsHandler, "__init__", fill)  # noqa: B010


@contextlib.contextmanager
def _code_given_to(
    take: Callable[[Code, Flags], bool], not_taken: Callable[[str], None], strategy: Strategy
) -> Iterator[None]:
    stock = AotCodeCompiler.compile

    def compile_(
        graph: Any, wrapper_code: str, kernel_code: str, serialized_extern_kernel_nodes: Any, **rest: Any
    ) -> Any:
        device = rest["device_type"]
        wrapper = _own_wrapper(wrapper_code, device)
        if graph.constants:
            not_taken("it has tensors of its own")
        elif rest["additional_files"]:
            not_taken("it needs files beside its library")
        elif wrapper is None:
            not_taken("inductor wrote its code otherwise than expected")
        elif take(
            Code(
                dispatched(wrapper, serialized_extern_kernel_nodes, _operation, _enum_name),
                kernel_code,
                _cubins(wrapper),
            ),
            _flags(device, strategy.wrapper, strategy.kernels),
        ):
            return [_TAKEN]
        else:
            not_taken("its code was not wanted")
        return stock(graph, wrapper_code, kernel_code, serialized_extern_kernel_nodes, **rest)

    vars(codecache)["AotCodeCompiler"] = type("AotCodeCompiler", (), {"compile": staticmethod(compile_)})
    try:
        yield
    finally:
        vars(codecache)["AotCodeCompiler"] = AotCodeCompiler


_TAKEN = "taken"
"""Stands for the library that inductor expects its builder to have made."""

_TORCH_LIBRARY = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"

_STOCK_INCLUDES = {
    device: f"#include <torch/csrc/inductor/aoti_include/{device}.h>" for device in ("cpu", "cuda")
}


def _own_wrapper(code: str, device: str) -> str | None:
    """``code`` with the container of our own; ``None`` where it is not written as expected."""
    include = _STOCK_INCLUDES.get(device)
    return with_own_container(code, include, _stock_container()) if include is not None else None


def _cubins(wrapper: str) -> dict[str, bytes]:
    """The machine code that triton made for the GPU kernels of ``wrapper``, by its symbol."""
    path = codecache.get_cpp_wrapper_cubin_path_name()
    made: Any = CudaKernelParamCache.cache
    return {cubin_symbol(name): Path(made[name][path]).read_bytes() for name in cubin_names(wrapper)}


def _operation(name: str) -> Operation:
    """The signature of one of torch's operations."""
    base, _, overload = name.partition(".")
    schema = torch._C._get_schema(base, overload)
    return Operation(
        [Argument(a.name, str(a.real_type), a.default_value) for a in schema.arguments],
        [str(result.real_type) for result in schema.returns],
    )


def _enum_name(kind: str, number: int) -> str:
    """A dtype, layout or memory format by the number that the file of the proxy executor has for it."""
    names: dict[str, Any] = {
        "ScalarType": serialize._SERIALIZE_TO_TORCH_DTYPE,
        "Layout": serialize._SERIALIZE_TO_TORCH_LAYOUT,
        "MemoryFormat": serialize._SERIALIZE_TO_TORCH_MEMORY_FORMAT,
    }
    return str(names[kind][number]).removeprefix("torch.")


@functools.cache
def _stock_container() -> str:
    """The text that inductor copies into every wrapper in AOT mode."""
    path = Path(cpp_wrapper_cpu.__file__).parent / "aoti_runtime" / "interface.cpp"
    return path.read_text(encoding="utf-8").strip()


@functools.cache
def _flags(device: str, wrapper: str, optimisation: str) -> Flags:
    """The compiler's arguments at these levels, as inductor's configuration has them in this process."""
    half: dict[str, Any] = {
        "vec_isa": cpu_vec_isa.pick_vec_isa(),
        "device_type": device,
        "aot_mode": True,
        "compile_only": True,
    }
    kernels = cpp_builder.CppTorchDeviceOptions(**half)
    linked = cpp_builder.CppTorchDeviceOptions(**{**half, "compile_only": False})
    definitions = tuple(f"-D{name.strip()}" for name in kernels.get_definitions())
    passed = tuple(word for text in kernels.get_passthrough_args() for word in text.split())
    lean = device == "cpu" and _TORCH_LIBRARY.exists()
    return Flags(
        compiler=kernels.get_compiler(),
        release=f"{torch.__version__} {torch.__file__} {Path(torch.__file__).stat().st_mtime_ns}",
        includes=tuple(kernels.get_include_dirs()),
        wrapper=(f"-{wrapper}", *definitions),
        kernels=(
            *(f"-{optimisation if flag == 'O3' else flag}" for flag in kernels.get_cflags()),
            *definitions,
            *passed,
        ),
        kernel_header="torch/csrc/inductor/cpp_prefix.h",
        link=(
            *(f"-L{path}" for path in linked.get_libraries_dirs()),
            *(f"-l{library}" for library in linked.get_libraries()),
        ),
        lean=lean,
        stand_ins=(str(_TORCH_LIBRARY),) if lean else (),
    )


def keep_output_strides(graph: GraphModule) -> None:
    """Have inductor give every output the strides it was traced with.

    It would otherwise lay out saved values as suits the forward graph, while the backward graph is
    compiled for the traced strides.
    """
    (output,) = graph.graph.find_nodes(op="output")
    output.meta["user_visible_output_idxs"] = list(range(len(output.args[0])))


def supported_options(patch: dict[str, Any]) -> dict[str, Any]:
    """The entries of ``patch`` that this torch release knows."""
    known = torch._inductor.config.get_config_copy()
    return {name: value for name, value in patch.items() if name in known}


def use_vector_isa(name: str) -> None:
    """Make inductor write kernels for ``name`` (``avx512``, ``avx2`` or ``neon``) in this process.

    Inductor would otherwise probe every instruction set with the compiler, which takes seconds, and
    take the widest extension the machine has rather than the level that the manifest states.
    """
    known: dict[str, type[cpu_vec_isa.VecISA]] = {
        "avx512": _Avx512,
        "avx2": _Avx2,
        "neon": cpu_vec_isa.VecNEON,
    }
    chosen = [known[name]()]
    vars(cpu_vec_isa)["valid_vec_isa_list"] = lambda: chosen


class _Avx512(cpu_vec_isa.VecAVX512):
    """AVX-512 without the bfloat16 extension, which the level does not have."""

    __hash__ = cpu_vec_isa.VecISA.__hash__  # type: ignore[assignment]

    def __bool__(self) -> bool:  # type: ignore[override]
        return True


class _Avx2(cpu_vec_isa.VecAVX2):
    __hash__ = cpu_vec_isa.VecISA.__hash__  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return True
