"""The one rule by which quantiles are computed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tezzeret_cli.quantiles import quantile


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(1, 0.95, 1), (20, 0.95, 19), (21, 0.95, 20), (100, 0.95, 95), (3, 0.5, 2)],
)
def test_it_is_the_nearest_rank(count, share, expected):
    assert quantile(range(count, 0, -1), share) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.01, 0.5, 0.95, 1.0]))
def test_it_is_the_smallest_value_that_covers_the_share(values, share):
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)
