"""What is left of a wrapper that has nothing but what runs a graph."""

from __future__ import annotations

import pytest

from tests.support.wrappers import graph
from tezzeret_cli.worker.lean import lean
from tezzeret_cli.worker.sources import Code, joined

BODY = """
    if (_check_aoti_runtime_check_inputs_env()) { assert_size_stride(a, {s33, 4L}, {4L, 1L}, "input"); }
    add(inputs[0], 1);
"""


def wrapper(count: int) -> str:
    kernel = 'extern "C"  void  add(float* a, float b) { *a += b; }'
    return joined([Code(graph(3, 2, "add", BODY), kernel)] * count).wrapper


@pytest.mark.parametrize("count", [1, 3])
def test_every_graph_is_declared_with_its_sizes_and_keeps_what_runs_it(count):
    text = lean(wrapper(count))
    assert text is not None
    assert text.count("TEZZERET_LEAN_GRAPH(AOTInductorModel, 3, 2)") == count
    assert text.count("void AOTInductorModel::run_impl(") == count
    assert text.count("(inputs[0], 1);") == count
    assert text.count("TEZZERET_LIBRARY(") == 1
    for number in range(1, count + 1):
        assert f"#define AOTInductorModel AOTInductorModel_{number}\n" in text


@pytest.mark.parametrize(
    "gone",
    ["std::shared_ptr", "std::string", "std::cerr", "assert_size_stride", "getenv", "kernels_."],
)
def test_what_is_never_called_is_gone(gone):
    assert gone in wrapper(2)
    assert gone not in (lean(wrapper(2)) or gone)


def test_a_wrapper_of_another_form_is_left_alone():
    assert lean(wrapper(2).replace(": AOTInductorModelBase(3,", ": AnotherBase(3,", 1)) is None
    assert lean(wrapper(1).replace(" 0,\n", " 1,\n", 1)) is None
