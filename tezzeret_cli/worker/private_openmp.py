"""Inductor's private modules: which loops of a kernel get several threads.

Inductor decides that when it writes a kernel, for the example's sizes. With ``dynamic_threads``, which a
bundle needs since its consumer may have any number of threads, every kernel gets them, and waking a second
thread takes longer than an elementwise operation on a small batch. So each parallel region asks at run time
how much work it is: iterations, weighed by what was written for one.

What is relied on: ``CppKernel.codegen_loops_impl`` writes the loops of one kernel into a buffer, and opens
regions with ``WorkSharing.parallel``.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from torch._inductor.codegen import cpp
from torch._inductor.codegen.cpp_utils import cexpr_index
from torch._inductor.utils import DeferredLineBase, sympy_product

GRAIN = 16384
"""Iterations of a simple loop nest from which it is given more than one thread. Eager's elementwise
operations have 32768 (``at::internal::GRAIN_SIZE``); a fused loop does more in each."""

SIMPLE = 8
"""Statements of a vectorised nest, its remainder included, up to which it is a simple one."""

LANES = 8
"""How many times as long an iteration takes that is not vectorised."""

_PRAGMA = "#pragma omp parallel"
_LOOPS = "codegen_loops_impl"


@contextlib.contextmanager
def one_thread_for_little_work() -> Iterator[None]:
    """Inside, kernels are written so that a region with less work than ``GRAIN`` in each of its loop nests
    runs on the calling thread."""
    stock_sharing, stock_loops = cpp.WorkSharing, cpp.CppKernel.codegen_loops_impl

    def written(kernel: Any, loop_nest: Any, code: Any, worksharing: Any) -> None:
        size = kernel.rename_indexing(sympy_product(kernel.call_ranges))
        work = worksharing.work = _Work(cexpr_index(size))
        before = len(code._lines)
        stock_loops(kernel, loop_nest, code, worksharing)
        work.weight = weight([str(line) for line in code._lines[before:]])

    vars(cpp)["WorkSharing"] = _WorkSharing
    setattr(cpp.CppKernel, _LOOPS, written)
    try:
        yield
    finally:
        vars(cpp)["WorkSharing"] = stock_sharing
        setattr(cpp.CppKernel, _LOOPS, stock_loops)


def weight(lines: Sequence[str]) -> int:
    """How many times the work of a simple one an iteration of the nest in ``lines`` is, at least 1."""
    statements = sum(line.rstrip().endswith(";") for line in lines)
    lanes = 1 if any("at::vec::" in line for line in lines) else LANES
    return max(1, statements // SIMPLE) * lanes


@dataclasses.dataclass
class _Work:
    """Of a loop nest: its number of iterations, in C++, and what one weighs, known once it is written."""

    iterations: str
    weight: int = 1

    def __str__(self) -> str:
        return self.iterations if self.weight == 1 else f"{self.iterations} * {self.weight}"


class _WorkSharing(cpp.WorkSharing):
    """``work`` is that of the loop nest that is being written."""

    work = _Work("0")

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

    def __init__(self, line: str, works: list[_Work]) -> None:
        super().__init__(line)
        self.works = works

    def __call__(self) -> str:
        large = " || ".join(f"{work} >= {GRAIN}" for work in dict.fromkeys(map(str, self.works)))
        return f"{self.line} if({large})"

    def _new_line(self, line: str) -> _Region:
        return _Region(line, self.works)
