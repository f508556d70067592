"""Inductor's private modules: which loops of a kernel get several threads.

Inductor decides that when it writes a kernel, for the example's sizes. With ``dynamic_threads``, which a
bundle needs since its consumer may have any number of threads, every kernel gets them, and waking a second
thread takes longer than an elementwise operation on a small batch. So each parallel region asks at run time
how much work it is.

What is relied on: ``CppKernel.codegen_loops_impl`` writes the loops of one kernel into a buffer, and opens
regions with ``WorkSharing.parallel``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch._inductor.codegen import cpp
from torch._inductor.codegen.cpp_utils import cexpr_index
from torch._inductor.utils import DeferredLineBase, sympy_product

GRAIN = 16384
"""Iterations of a loop nest from which it is given more than one thread. Eager's elementwise operations have
32768 (``at::internal::GRAIN_SIZE``); a fused loop does more in each."""

_PRAGMA = "#pragma omp parallel"
_LOOPS = "codegen_loops_impl"


@contextlib.contextmanager
def one_thread_for_little_work() -> Iterator[None]:
    """Inside, kernels are written so that a region with less than ``GRAIN`` iterations in each of its loop
    nests runs on the calling thread."""
    stock_sharing, stock_loops = cpp.WorkSharing, cpp.CppKernel.codegen_loops_impl

    def written(kernel: Any, loop_nest: Any, code: Any, worksharing: Any) -> None:
        size = kernel.rename_indexing(sympy_product(kernel.call_ranges))
        worksharing.work = cexpr_index(size)
        stock_loops(kernel, loop_nest, code, worksharing)

    vars(cpp)["WorkSharing"] = _WorkSharing
    setattr(cpp.CppKernel, _LOOPS, written)
    try:
        yield
    finally:
        vars(cpp)["WorkSharing"] = stock_sharing
        setattr(cpp.CppKernel, _LOOPS, stock_loops)


class _WorkSharing(cpp.WorkSharing):
    """``work`` is the number of iterations, in C++, of the loop nest that is being written."""

    work = ""

    def parallel(self, threads: int) -> None:
        before = len(self.code._lines)
        super().parallel(threads)
        for at, line in enumerate(self.code._lines[before:], before):
            if isinstance(line, str) and line.strip().startswith(_PRAGMA):
                self._region = _Region(line, [])
                self.code._lines[at] = self._region
        self._region.works.append(self.work)


class _Region(DeferredLineBase):
    """The line that opens a region, whose loop nests are known once all are written."""

    def __init__(self, line: str, works: list[str]) -> None:
        super().__init__(line)
        self.works = works

    def __call__(self) -> str:
        large = " || ".join(f"{work} >= {GRAIN}" for work in dict.fromkeys(self.works))
        return f"{self.line} if({large})"

    def _new_line(self, line: str) -> _Region:
        return _Region(line, self.works)
