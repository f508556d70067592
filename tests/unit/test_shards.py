"""Shards of a plan are a partition of it, the same on every machine."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forging import job
from tezzeret_cli.cli.values import parse_shard
from tezzeret_cli.errors import InputError
from tezzeret_cli.model.run import Shard
from tezzeret_cli.plan import in_shard

ids = st.text("BP0123456789-_", min_size=1, max_size=6)
parameters = st.dictionaries(st.sampled_from(["width", "layers"]), st.floats(0, 9), max_size=2)
plans = st.lists(
    st.tuples(ids, parameters), max_size=60, unique_by=lambda pair: (pair[0], tuple(sorted(pair[1].items())))
)


def identity(made):
    return made.blueprint_id, tuple(sorted(made.parameters.items()))


@given(plans, st.integers(1, 70), st.randoms())
def test_every_job_is_in_exactly_one_shard_and_they_are_even(chosen, of, random):
    jobs = [job(blueprint_id, parameters=values) for blueprint_id, values in chosen]
    elsewhere = [msgspec.structs.replace(made, key=f"another machine's {made.key}") for made in jobs]
    random.shuffle(elsewhere)
    shards = [in_shard(jobs, Shard(number, of)) for number in range(1, of + 1)]
    assert Counter(identity(made) for shard in shards for made in shard) == Counter(map(identity, jobs))
    sizes = [len(shard) for shard in shards]
    assert max(sizes) - min(sizes) <= 1
    for number, shard in enumerate(shards, 1):
        assert list(map(identity, in_shard(elsewhere, Shard(number, of)))) == list(map(identity, shard))


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_a_shard_is_read_as_it_is_written(one, other):
    shard = Shard(min(one, other), max(one, other))
    assert parse_shard(str(shard), "--shard") == shard


@pytest.mark.parametrize(
    "text", ["0/8", "9/8", "x", "", "2", "/8", "2/", "-1/8", "1/0", "1.5/8", "1/8/2", "\u0661/8"]
)
def test_anything_else_is_refused(text):
    with pytest.raises(InputError, match="not a shard; write it like 2/8"):
        parse_shard(text, "--shard")
