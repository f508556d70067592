"""What a loop nest weighs that inductor wrote."""

from __future__ import annotations

from tezzeret_cli.worker.private_openmp import LANES, SIMPLE, weight

HEAD = ["for(int64_t x0=0; x0<n; x0+=16)", "{"]
VECTOR = "auto tmp0 = at::vec::Vectorized<float>::loadu(in_ptr0 + x0, 16);"
STATEMENT = "    auto tmp1 = tmp0 + tmp0;"


def test_a_simple_nest_weighs_one() -> None:
    assert weight([*HEAD, VECTOR, *[STATEMENT] * (SIMPLE - 1), "}"]) == 1
    assert weight([]) == LANES


def test_a_nest_with_many_statements_weighs_more_and_one_without_vectors_more_still() -> None:
    many = [STATEMENT] * (3 * SIMPLE - 1)
    assert weight([*HEAD, VECTOR, *many, "}"]) == 3
    assert weight([*HEAD, *many, STATEMENT, "}"]) == 3 * LANES
