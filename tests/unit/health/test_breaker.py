"""Circuit breakers against the words of their rule, and their journal against damage and company."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tezzeret_cli.errors import JournalDamagedError
from tezzeret_cli.health.breaker import GOOD_JOBS, failed, phase, succeeded
from tezzeret_cli.health.record import HealthRecords
from tezzeret_cli.health.state import apply, breaker_for, phases
from tezzeret_cli.model.health import Breaker, BreakerRule, Health, ModeChanged, Outcome, Phase

RULE = BreakerRule("memory", 3, 30.0)
RULES = (RULE, BreakerRule("timeout", 2, 300.0), BreakerRule("gpu", 5, 60.0))


def test_it_opens_is_half_open_and_closes_after_good_jobs():
    breaker = Breaker()
    for now in (1.0, 2.0):
        breaker = failed(breaker, RULE, now)
        assert phase(breaker, RULE, now) is Phase.CLOSED
    breaker = failed(breaker, RULE, 3.0)
    assert phase(breaker, RULE, 3.0) is Phase.OPEN
    assert phase(breaker, RULE, 32.9) is Phase.OPEN
    assert phase(breaker, RULE, 33.0) is Phase.HALF_OPEN
    for _ in range(GOOD_JOBS):
        assert phase(breaker, RULE, 40.0) is Phase.HALF_OPEN
        breaker = succeeded(breaker, RULE, 40.0)
    assert breaker == Breaker()


def test_only_failures_in_a_row_count():
    breaker = Breaker()
    for now in range(20):
        breaker = failed(failed(breaker, RULE, now), RULE, now)
        assert phase(breaker, RULE, now) is Phase.CLOSED
        breaker = succeeded(breaker, RULE, now)


def test_a_failure_opens_a_half_open_one_again():
    breaker = succeeded(Breaker(opened=0.0), RULE, 31.0)
    breaker = failed(breaker, RULE, 40.0)
    assert breaker == Breaker(opened=40.0)
    assert phase(breaker, RULE, 69.0) is Phase.OPEN


def test_what_ends_while_it_is_open_changes_nothing():
    breaker = Breaker(opened=10.0)
    assert succeeded(breaker, RULE, 11.0) == failed(breaker, RULE, 11.0) == breaker


def test_a_clock_that_was_set_back_does_not_keep_it_open():
    assert phase(Breaker(opened=1e9), RULE, 5.0) is Phase.HALF_OPEN


EVENTS = st.lists(
    st.tuples(st.sampled_from([None, "memory", "timeout", "gpu"]), st.floats(0, 200)), max_size=40
)


@given(EVENTS)
def test_breakers_do_not_mind_one_another(events):
    """Each breaker comes out as if only what concerns it had happened, and is never open too long."""
    now, together = 0.0, Health()
    alone = {rule.name: Breaker() for rule in RULES}
    for name, step in events:
        now += step
        together = apply(together, Outcome(now, name), RULES)
        for rule in RULES:
            if name is None:
                alone[rule.name] = succeeded(alone[rule.name], rule, now)
            elif name == rule.name:
                alone[rule.name] = failed(alone[rule.name], rule, now)
    assert {name: together.breakers.get(name, Breaker()) for name in alone} == alone
    later = phases(together, RULES, now + 301)
    assert Phase.OPEN not in later.values()


@pytest.mark.parametrize(
    ("kind", "device", "name"),
    [
        ("out_of_memory", "cpu", "memory"),
        ("proof_out_of_memory", "cuda", "memory"),
        ("timeout", "cpu", "timeout"),
        ("crash", "cuda:1", "gpu"),
        ("crash", "cpu", None),
        ("graph_break", "cuda", None),
    ],
)
def test_failures_count_for_their_breaker(kind, device, name):
    assert breaker_for(kind, device) == name


def test_health_outlives_a_process_and_compaction(tmp_path):
    records = HealthRecords(tmp_path, RULES)
    assert records.read() == Health()
    for number in range(60):
        records.add([Outcome(float(number), "memory" if odd else None) for odd in range(10)])
    _, last = records.add(
        [Outcome(1000.0, "memory"), Outcome(1001.0, "memory"), ModeChanged(1002.0, ("why",))]
    )
    assert HealthRecords(tmp_path, RULES).read() == last
    assert (last.conservative, last.since) == (("why",), 1002.0)
    assert phases(last, RULES, 1003.0)["memory"] is Phase.OPEN


def test_damage_is_told_and_can_be_set_aside(tmp_path):
    records = HealthRecords(tmp_path, RULES)
    for _ in range(3):
        records.add([Outcome(1.0, "memory")])
    segment = sorted(records.folder.glob("*.wal"))[0]
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(data)
    with pytest.raises(JournalDamagedError):
        records.add([Outcome(2.0, "memory")])
    moved = records.set_aside()
    assert moved.is_dir()
    assert records.add([Outcome(3.0, "memory")])[1].breakers["memory"] == Breaker(failures=1)


def test_records_are_plain_data():
    encoded = msgspec.msgpack.encode(Outcome(1.0, "memory", "BP001"))
    assert msgspec.msgpack.decode(encoded)["type"] == "outcome"
