"""Imported by the warm process: what torch imports while it compiles, which every job would do anew.

Names are those of torch 2.11 to 2.15; one that a release does not have is left out. What asks
whether there is a GPU while it is imported must not stand here: NVML leaves a thread behind, and a process
with threads is not forked. Nor what keeps torch 2.11 from registering other devices once it is there itself.
"""

from __future__ import annotations

import contextlib
import importlib

LATE = (
    "setuptools.command.build_ext",  # all that torch.utils.cpp_extension takes long for; that asks for a GPU
    "sympy.tensor.tensor",
    "torch._dynamo.backends.cudagraphs",
    "torch._dynamo.backends.inductor",
    "torch._dynamo.repro.after_dynamo",
    "torch._export.passes.collect_tracepoints_pass",
    "torch._functorch._aot_autograd.subclass_codegen",
    "torch._higher_order_ops.passes.inline_invoke_subgraph",
    "torch._inductor.bounds",
    "torch._inductor.choices",
    "torch._inductor.codegen.cpp_wrapper_cpu_array_ref",
    "torch._inductor.codegen.cpp_wrapper_gpu",
    "torch._inductor.codegen.cpp_wrapper_mps",
    "torch._inductor.codegen.cuda_combined_scheduling",
    "torch._inductor.codegen.halide",
    "torch._inductor.codegen.mps",
    "torch._inductor.codegen.pallas",
    "torch._inductor.codegen.python_wrapper_mtia",
    "torch._inductor.codegen.segmented_tree",
    "torch._inductor.codegen.wrapper_fxir",
    "torch._inductor.codegen.xpu.xpu_combined_scheduling",
    "torch._inductor.compiler_bisector",
    "torch._inductor.extern_node_serializer",
    "torch._inductor.fx_passes.freezing_patterns",
    "torch._inductor.fx_passes.quantization",
    "torch._inductor.kernel_template_choice",
    "torch._subclasses.schema_check_mode",
    "torch.distributed.tensor.experimental",
    "torch.export._trace",
    "torch.fx.experimental.validator",
)

for _name in LATE:
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)
