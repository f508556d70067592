"""Transactions from frames: their states and payloads, and orders that no writer makes."""

from __future__ import annotations

import pytest

from tezzeret_cli.errors import JournalDamagedError
from tezzeret_cli.wal.frame import Flag, Frame, Type
from tezzeret_cli.wal.replay import State, Transactions, fold, transactions

A, B = b"a" * 16, b"b" * 16


def frames(*records):
    return [
        Frame(kind, 0, 0, txn, number + 2, 1, 0, 0, 1, b"", b"", len(payload), 264 * (number + 1), payload)
        for number, (kind, txn, payload) in enumerate(records)
    ]


def test_each_transaction_has_its_state_and_its_payloads_in_order():
    found = transactions(
        frames(
            (Type.BEGIN, A, b"job a"),
            (Type.BEGIN, B, b"job b"),
            (Type.DATA, A, b"1"),
            (Type.DATA, B, b"2"),
            (Type.DATA, A, b"3"),
            (Type.COMMIT, A, b"done"),
        )
    )
    a, b = found.by_id.values()
    assert (a.state, a.begin, a.data, a.end, a.first, a.last) == (
        State.COMMITTED,
        b"job a",
        [b"1", b"3"],
        b"done",
        2,
        7,
    )
    assert (b.state, b.begin, b.data) == (State.OPEN, b"job b", [b"2"])
    assert found.open() == [b]


def test_an_abort_ends_a_transaction():
    found = transactions(frames((Type.BEGIN, A, b""), (Type.ABORT, A, b"why")))
    assert (found.by_id[A].state, found.by_id[A].end) == (State.ABORTED, b"why")
    assert found.open() == []


def test_a_snapshot_stands_apart():
    (frame,) = frames((Type.DATA, bytes(16), b"state"))
    frame.flags = Flag.SNAPSHOT
    found = transactions([frame])
    assert (found.snapshot, found.by_id) == ([b"state"], {})


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([(Type.COMMIT, A, b"")], "never began"),
        ([(Type.DATA, A, b"")], "never began"),
        ([(Type.ABORT, A, b"")], "never began"),
        ([(Type.BEGIN, A, b""), (Type.BEGIN, A, b"")], "begun already"),
        ([(Type.BEGIN, A, b""), (Type.COMMIT, A, b""), (Type.DATA, A, b"")], "committed already"),
        ([(Type.BEGIN, A, b""), (Type.ABORT, A, b""), (Type.COMMIT, A, b"")], "aborted already"),
        ([(Type.BEGIN, A, b""), (Type.COMMIT, A, b""), (Type.BEGIN, A, b"")], "begun already"),
    ],
)
def test_an_impossible_order_is_damage(records, message):
    with pytest.raises(JournalDamagedError, match=message) as caught:
        transactions(frames(*records))
    assert caught.value.last_good == len(records)


def test_two_folds_of_the_same_frames_agree():
    records = frames((Type.BEGIN, A, b""), (Type.DATA, A, b"1"))

    def count(total, frame):
        return total + len(frame.payload)

    assert fold(records, count, 0) == fold(records, count, 0) == 1
    assert isinstance(transactions(records), Transactions)
