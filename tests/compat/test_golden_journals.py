"""A journal of every format that was ever released is read as it was meant.

``journals/format-N`` was written by the release that had that format: a base, a roll, a second opening, a
record of a type that may be skipped, a payload of zeros, and a torn tail.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tezzeret_cli.wal.frame import VERSION, Flag, Type
from tezzeret_cli.wal.journal import Journal
from tezzeret_cli.wal.reader import read
from tezzeret_cli.wal.repair import Tail

GOLDEN = sorted((Path(__file__).parent / "journals").iterdir())
B, C = b"\2" * 16, b"\3" * 16


def test_every_format_has_a_golden_journal():
    assert [path.name for path in GOLDEN] == [f"format-{number}" for number in range(1, VERSION + 1)]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_it_holds_what_was_written(golden):
    records = [(frame.sequence, frame.type, frame.schema, frame.payload[-20:]) for frame in read(golden)]
    assert records == [
        (7, 2, 0, b"a was done"),
        (8, 1, 0, b"job b"),
        (10, 2, 1, b"digest"),
        (13, 1, 0, b"job c"),
        (16, 4, 0, b"why"),
        (17, 2, 0, bytes(19) + b"x"),
    ]
    assert next(read(golden)).flags == Flag.SNAPSHOT


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_it_is_recovered_and_goes_on(golden, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(golden, folder)
    frames = []
    with Journal.open(folder, replay=frames.append) as journal:
        assert journal.found.tail is Tail.TORN
        assert journal.durable == 20
    assert [frame.type for frame in frames if frame.txn == B] == [Type.BEGIN, Type.DATA, Type.ABORT]
    assert next(frame for frame in frames if frame.txn == C).type == Type.BEGIN
    assert [frame.payload for frame in frames if frame.flags & Flag.SNAPSHOT] == [b"a was done"]
