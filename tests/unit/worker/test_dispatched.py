"""Calls that were left to the proxy executor, written as calls through the dispatcher."""

from __future__ import annotations

import json

import pytest

from tezzeret_cli.worker.dispatched import Argument, Operation, dispatched
from tezzeret_cli.worker.unsupported import Unsupported

LEFT = (
    "    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_proxy_executor_call_function(proxy_executor, {number}, 2, "
    "std::array<int64_t, 2>{{s7, 1 + s7}}.data(), 2, "
    "std::array<AtenTensorHandle, 2>{{RAIIAtenTensorHandle(wrap(buf0)), buf1}}.data()));\n"
)
INTEGERS = "std::array<int64_t, 2>{s7, 1 + s7}.data()"
TENSORS = "std::array<AtenTensorHandle, 2>{RAIIAtenTensorHandle(wrap(buf0)), buf1}.data()"


def written(kind: str, given: dict[str, object] | None, default: object = None) -> str:
    """The members that hand over one argument of type ``kind``."""
    inputs = [] if given is None else [{"name": "it", "arg": given, "kind": 1}]
    node = {"target": "aten::op.over", "inputs": inputs, "outputs": [{"as_tensor": {"name": "buf1"}}]}
    operation = Operation([Argument("it", kind, default)], ["Tensor"])
    text = dispatched(
        LEFT.format(number=0),
        json.dumps({"nodes": [{"name": "buf1", "node": node}]}),
        lambda name: operation,
        lambda enum, number: f"{enum.lower()}_{number}",
    )
    before, _, members = text.partition(f"({INTEGERS}, {TENSORS})")
    assert before.strip().startswith("AOTI_TORCH_ERROR_CODE_CHECK(tezzeret::Call<")
    members, _, after = members.partition('.call("aten::op", "over").result()')
    assert after == ");\n"
    return members


@pytest.mark.parametrize(
    ("kind", "given", "members"),
    [
        ("Tensor", {"as_tensor": {"name": "buf0"}}, ".tensor()"),
        ("int", {"as_int": 3}, ".integer()"),
        ("int", {"as_sym_int": {"as_name": "s7"}}, ".integer()"),
        ("bool", {"as_bool": False}, ".put(false)"),
        ("float", {"as_float": 0.1}, ".put(double(0.1))"),
        ("ScalarType", {"as_scalar_type": 7}, ".put(aoti_torch_dtype_scalartype_7())"),
        (
            "Device",
            {"as_device": {"type": "cpu", "index": None}},
            ".device(aoti_torch_device_type_cpu(), -1)",
        ),
        (
            "Device",
            {"as_device": {"type": "cuda", "index": 0}},
            ".device(aoti_torch_device_type_cuda(), this->device_idx_)",
        ),
        ("Optional[int]", {"as_none": True}, ".none()"),
        ("Optional[int]", {"as_int": 3}, ".integer().some()"),
        ("List[int]", {"as_ints": [1, 2]}, ".integer().integer().list(2)"),
        ("List[int]", {"as_sym_ints": [{"as_name": "s7"}, {"as_int": 2}]}, ".integer().integer().list(2)"),
        ("Optional[List[int]]", {"as_ints": []}, ".list(0).some()"),
        ("Optional[List[float]]", {"as_floats": [2.0]}, ".put(double(2.0)).list(1).some()"),
        ("List[Tensor]", {"as_tensors": [{"name": "buf0"}] * 2}, ".tensor().tensor().list(2)"),
        (
            "List[Optional[Tensor]]",
            {"as_optional_tensors": [{"as_none": True}, {"as_tensor": {"name": "buf0"}}]},
            ".none().tensor().some().list(2)",
        ),
    ],
)
def test_an_argument_is_handed_over_by_its_type(kind, given, members):
    assert written(kind, given) == members


@pytest.mark.parametrize(
    ("kind", "default", "members"),
    [
        ("int", -1, ".put(int64_t(-1))"),
        ("bool", True, ".put(true)"),
        ("Optional[Tensor]", None, ".none()"),
        ("Optional[int]", 2, ".put(int64_t(2)).some()"),
        ("List[int]", [0, 1], ".put(int64_t(0)).put(int64_t(1)).list(2)"),
    ],
)
def test_what_was_left_out_is_the_default(kind, default, members):
    assert written(kind, None, default) == members


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("number", {"as_float": 0.5}),
        ("str", {"as_string": "ij,jk"}),
        ("float", {"as_float": float("inf")}),
    ],
)
def test_what_cannot_be_handed_over_names_the_operation(kind, given):
    with pytest.raises(Unsupported, match=rf"needs aten::op\.over, which takes a {kind}"):
        written(kind, given)


def test_somebody_elses_operation_is_refused():
    nodes = json.dumps({"nodes": [{"node": {"target": "mine::op", "inputs": [], "outputs": []}}]})
    with pytest.raises(Unsupported, match="mine::op, which is not one of torch's own"):
        dispatched(LEFT.format(number=0), nodes, lambda name: Operation([], []), str)


FILLED = [
    {"name": "size", "arg": {"as_ints": [4]}, "kind": 1},
    {"name": "fill_value", "arg": {"as_int": 0}, "kind": 1},
    {"name": "dtype", "arg": {"as_scalar_type": 7}, "kind": 2},
]


def filled(inputs: list[dict[str, object]]) -> str:
    node = {"target": "aten::full", "inputs": inputs, "outputs": [{"as_tensor": {"name": "buf1"}}]}
    kinds = {"size": "List[int]", "fill_value": "number", "dtype": "Optional[ScalarType]"}
    full = Operation([Argument(name, kind, None) for name, kind in kinds.items()], ["Tensor"])
    nodes = json.dumps({"nodes": [{"node": node}]})
    return dispatched(LEFT.format(number=0), nodes, lambda name: full, lambda kind, number: "float32")


def test_zeros_stand_in_for_being_filled_with_zero():
    dtype = ".put(aoti_torch_dtype_float32()).some()"
    assert f'.integer().list(1){dtype}.call("aten::zeros", "").result());' in filled(FILLED)


def test_they_do_not_where_the_type_follows_the_number():
    with pytest.raises(Unsupported, match="aten::full, which takes a number"):
        filled(FILLED[:2])


def test_a_result_that_nothing_uses_is_dropped():
    node = {"target": "aten::op", "inputs": [], "outputs": [{"as_none": True}, {"as_tensor": {"name": "b"}}]}
    operation = Operation([], ["Tensor", "Tensor", "Tensor"])
    nodes = json.dumps({"nodes": [{"node": node}]})
    text = dispatched(LEFT.format(number=0), nodes, lambda name: operation, str)
    assert "tezzeret::Call<3>" in text
    assert '.call("aten::op", "").unused().result().unused());' in text


def test_calls_that_are_written_otherwise_are_refused():
    node = {"target": "aten::op", "inputs": [], "outputs": []}
    nodes = json.dumps({"nodes": [{"node": node}]})
    changed = LEFT.format(number=0).replace("proxy_executor,", "executor,")
    with pytest.raises(Unsupported, match="aten::op, calls of which were not written as expected"):
        dispatched(changed, nodes, lambda name: Operation([], []), str)
