"""Any course of appends, compactions, crashes and reopenings keeps what was acknowledged."""

from __future__ import annotations

import random

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.disks import PowerCut, SimulatedDisk
from tests.support.logs import History, recover
from tests.support.workload import FOLDER
from tezzeret_cli.wal.journal import Journal
from tezzeret_cli.wal.reader import RECORDS, Scan
from tezzeret_cli.wal.writer import Options


class Life(RuleBasedStateMachine):
    """A journal on a simulated disk. Each rule may be cut short by a power cut or a kill."""

    lived = 0
    """How many there were."""

    @initialize(sync=st.sampled_from(["auto", "fsync"]), size=st.sampled_from([600, 2000, 100_000]))
    def begin(self, sync, size):
        Life.lived += 1
        self.options = Options(segment_bytes=size, sync=sync)
        self.disk, self.history = SimulatedDisk(), History()
        self.journal = None
        self.reopen()

    def reopen(self):
        self.disk.reboot()
        self.disk.cut = -1
        self.journal, found = recover(FOLDER, self.disk, self.options)
        assert self.history.agrees(found)
        self.history.settle(found)

    @rule(count=st.integers(1, 5), size=st.sampled_from([20, 300, 900]))
    def append(self, count, size):
        self.history.append(self.journal, count, size)

    @rule()
    def compact(self):
        self.journal.compact(self.history.known)

    @rule()
    def close(self):
        self.journal.close()
        self.reopen()

    @rule(cut=st.integers(0, 12), compacts=st.booleans(), seed=st.integers(0, 2**16), power=st.booleans())
    def crash(self, cut, compacts, seed, power):
        """Die inside an operation; after a power cut, only some of what was not synced is there."""
        self.disk.cut = self.disk.count + cut
        try:
            if compacts:
                self.compact()
            self.append(3, 300)
            self.close()
        except PowerCut:
            pass
        if power:
            self.disk = SimulatedDisk(self.disk.image(random.Random(seed), 0.5))
        self.reopen()

    @precondition(lambda self: self.journal is not None)
    @invariant()
    def the_log_holds_together(self):
        scan = Scan(FOLDER, self.disk)
        sequences = [frame.sequence for frame in scan]
        assert scan.ending.fault is None
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        assert scan.ending.sequence == self.journal.durable
        records = [frame for frame in Scan(FOLDER, self.disk) if frame.type in RECORDS]
        assert [frame.payload for frame in records] == self.history.known


def test_any_course_of_a_journals_life(full, tally):
    runs, Life.lived = 10_000 if full else 60, 0
    asked = settings(max_examples=runs, stateful_step_count=15, deadline=None, database=None)
    run_state_machine_as_test(Life, settings=asked)
    tally("stateful runs of a journal", Life.lived)
    assert Life.lived >= runs


def test_a_compaction_that_forgets_a_record_is_noticed(monkeypatch):
    real = Journal.compact
    monkeypatch.setattr(Journal, "compact", lambda self, snapshot: real(self, snapshot[1:]))
    asked = settings(
        max_examples=200,
        stateful_step_count=15,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Life, settings=asked)
