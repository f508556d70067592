"""Which bundles the rules choose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tezzeret_cli.bundle.version import parse
from tezzeret_cli.errors import InputError
from tezzeret_cli.model.collect import Rules
from tezzeret_cli.ops.gc_policy import Bundle, choose
from tezzeret_cli.telemetry.numbers import duration, size

NOW = 1_800_000_000.0
DAY = 86400.0


def bundle(name="BP001", version="1.0.0+a", days=0.5, count=100):
    return Bundle(name, parse(version), f"/s/{name}/{version}", NOW - days * DAY, count)


def went(bundles, needed=lambda bundle: None, **rules):
    return {f"{b.blueprint_id}/{b.version}" for b, _ in choose(bundles, Rules(**rules), NOW, needed).going}


def test_without_rules_every_bundle_stays():
    assert went([bundle(days=10_000)]) == set()


def test_ttl_counts_from_the_last_use():
    assert went([bundle(days=29), bundle("BP002", days=31)], ttl_s=30 * DAY) == {"BP002/1.0.0+a"}


def test_keep_alone_removes_older_versions_of_each_lineage():
    versions = ("1.0.0+a", "1.9.0+a", "1.10.0+a", "1.0.0+b")
    assert went([bundle(version=v) for v in versions], keep=1) == {"BP001/1.0.0+a", "BP001/1.9.0+a"}


def test_keep_saves_from_ttl():
    there = [bundle(version=v, days=99) for v in ("1.0.0+a", "1.1.0+a")]
    assert went(there, ttl_s=DAY, keep=1) == {"BP001/1.0.0+a"}


def test_max_size_takes_the_least_recently_used():
    there = [bundle(f"BP00{n}", days=n) for n in (1, 2, 3)]
    assert went(there, max_bytes=200) == {"BP003/1.0.0+a"}
    assert went(there, max_bytes=199) == {"BP003/1.0.0+a", "BP002/1.0.0+a"}
    assert went(there, max_bytes=300) == set()


def test_max_size_counts_what_ttl_removed_and_leaves_what_keep_wants():
    there = [bundle("BP001", days=9), bundle("BP002", days=5), bundle("BP002", "1.1.0+a", days=4)]
    assert went(there, ttl_s=8 * DAY, max_bytes=200) == {"BP001/1.0.0+a"}
    assert went(there, keep=1, max_bytes=1) == {"BP002/1.0.0+a"}


@pytest.mark.parametrize("pin", ["BP001", "BP00*", "BP001/1.0.0", "BP001/1.0.0+a", "BP001/*"])
def test_a_pin_saves_from_every_rule(pin):
    assert went([bundle(days=99)], ttl_s=DAY, max_bytes=1, pins=(pin,)) == set()


def test_a_pin_that_matches_nothing_is_an_error():
    with pytest.raises(InputError, match="'BP002' matches no bundle; correct it; nothing was removed"):
        went([bundle(days=99)], ttl_s=DAY, pins=("BP001", "BP002"))


def test_what_was_just_used_stays():
    assert went([bundle(days=30 / DAY)], ttl_s=1, max_bytes=1) == set()


def test_what_a_run_needs_stays_and_the_reason_is_told():
    choice = choose([bundle(days=99)], Rules(ttl_s=DAY), NOW, lambda _: "a run")
    assert (choice.going, [why for _, why in choice.kept]) == ([], ["a run"])


bundles = st.lists(
    st.builds(
        bundle,
        st.sampled_from(["BP001", "BP002"]),
        st.builds("{}.{}.0+{}".format, st.integers(0, 3), st.integers(0, 3), st.sampled_from("ab")),
        st.floats(0, 100),
        st.integers(0, 500),
    ),
    unique_by=lambda b: b.path,
)


@given(
    bundles,
    st.none() | st.floats(1, 100 * DAY),
    st.none() | st.integers(1, 3),
    st.none() | st.integers(1, 900),
)
def test_rules_hold_whatever_there_is(there, ttl, keep, max_bytes):
    rules = Rules(ttl_s=ttl, keep=keep, max_bytes=max_bytes)
    choice = choose(there, rules, NOW, lambda _: None)
    gone = {b.path for b, _ in choice.going}
    assert len(gone) == len(choice.going)
    for b in there:
        newer = sum(
            (o.blueprint_id, o.version.lineage) == (b.blueprint_id, b.version.lineage)
            and b.version < o.version
            for o in there
        )
        idle = NOW - b.used
        if idle < 60 or (keep is not None and newer < keep):
            assert b.path not in gone
        if ttl is not None and keep is None and idle > max(ttl, 60):
            assert b.path in gone
    left = [b for b in there if b.path not in gone]
    if max_bytes is not None and keep is None and sum(b.bytes for b in left) > max_bytes:
        assert all(NOW - b.used < 60 for b in left)


def test_words():
    assert [size(n) for n in (0, 1023, 1536, 123 << 20, 5 << 40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "123 MiB",
        "5.0 TiB",
    ]
    assert [duration(n) for n in (5, 90, 5400, 30 * DAY)] == ["5 s", "1.5 min", "1.5 h", "30 d"]
