"""Replay is pure: records in, what is done and what is left out."""

from __future__ import annotations

import secrets

import msgspec
import pytest

from tests.support.forging import job, plan
from tezzeret_cli.model.manifest import Reason
from tezzeret_cli.model.prewarm import PrewarmPlan, Sample
from tezzeret_cli.model.records import (
    BundleBegan,
    BundleEnded,
    BundleTimed,
    JobBegan,
    JobEnded,
    JobLost,
    JobRetried,
    JobStaged,
    PrewarmBegan,
    PrewarmEnded,
    RunAbandoned,
    RunBegan,
    RunEnded,
)
from tezzeret_cli.model.report import JobReport, Status
from tezzeret_cli.runs.state import ImpossibleRecord, RunState, apply, frame_type
from tezzeret_cli.wal.frame import Type

RUN, FIRST, SECOND = (secrets.token_bytes(16) for _ in range(3))


def report(bundle: str | None = "bundles/BP001/1.0.0+x") -> JobReport:
    status = Status.COMPILED if bundle else Status.FAILED
    return JobReport("BP001", "1.0.0+x", status, "standard", 1.0, False, None, bundle)


STAGED = JobStaged("tmp/run-x/0-BP001", "bundles/BP001/1.0.0+x", "aa" * 32, report())


@pytest.fixture
def began(store):
    return apply(RunState(), RUN, RunBegan(plan(store, [job("BP001"), job("BP002")])))


def test_a_job_is_open_from_its_beginning_to_its_end(began):
    state = apply(began, FIRST, JobBegan(0, "k"))
    assert [open_job.number for open_job in state.open.values()] == [0]
    state = apply(state, FIRST, JobRetried(Reason("timeout", "not done", False)))
    state = apply(state, FIRST, STAGED)
    assert state.open[FIRST.hex()].staged == STAGED
    state = apply(state, FIRST, JobEnded(report()))
    assert state.open == {}
    assert state.finished == {0: report()}
    assert state.done[0].manifest_sha256 == STAGED.manifest_sha256


def test_a_lost_job_is_still_to_do_even_if_it_had_ended(began):
    state = apply(apply(began, FIRST, JobBegan(0, "k")), FIRST, JobEnded(report(None)))
    assert list(state.done) == [0]
    state = apply(apply(state, SECOND, JobBegan(0, "k")), SECOND, JobLost("its bundle is damaged"))
    assert (state.done, state.open) == ({}, {})


@pytest.mark.parametrize("ending", [RunEnded({"compiled": 2}), RunAbandoned("old")])
def test_a_run_ends_once(began, ending):
    state = apply(began, RUN, ending)
    assert state.ending == ending
    with pytest.raises(ImpossibleRecord):
        apply(state, RUN, ending)


@pytest.mark.parametrize(
    ("txn", "record"),
    [
        (FIRST, JobEnded(report())),
        (FIRST, JobLost("")),
        (FIRST, STAGED),
        (FIRST, JobBegan(2, "k")),
        (FIRST, JobBegan(-1, "k")),
    ],
)
def test_a_record_in_an_impossible_place_is_refused(began, txn, record):
    with pytest.raises(ImpossibleRecord):
        apply(began, txn, record)


def test_nothing_comes_before_the_plan_and_no_second_plan_after_it(began):
    with pytest.raises(ImpossibleRecord):
        apply(RunState(), RUN, RunEnded({}))
    with pytest.raises(ImpossibleRecord):
        apply(began, RUN, RunBegan(began.plan))


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (JobBegan(0, "k"), Type.BEGIN),
        (STAGED, Type.DATA),
        (JobEnded(report()), Type.COMMIT),
        (JobEnded(report(None)), Type.ABORT),
        (JobLost(""), Type.ABORT),
        (RunEnded({}), Type.COMMIT),
        (RunAbandoned(""), Type.ABORT),
    ],
)
def test_a_job_commits_when_there_is_a_bundle(record, kind):
    assert frame_type(record) is kind


def test_a_snapshot_stands_for_the_state(began):
    state = apply(apply(began, FIRST, JobBegan(0, "k")), FIRST, STAGED)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=RunState) == state


MADE = Sample(1.0, "host", "2.13", 2, "cpu", 1.0, ())
PREWARM = PrewarmBegan(PrewarmPlan("0", "id", "/store", ("bundles/BP001/1.0.0+x",), 3, 1, 1, None, 1.0))


def test_a_bundle_of_a_prewarm_is_open_from_its_beginning_to_its_end():
    state = apply(RunState(), RUN, PREWARM)
    assert state.unsettled
    state = apply(state, FIRST, BundleBegan("bundles/BP001/1.0.0+x"))
    state = apply(state, FIRST, BundleTimed(MADE))
    assert [timing.sample for timing in state.prewarming.open.values()] == [MADE]
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=RunState)
    state = apply(state, FIRST, BundleEnded("warmed", True))
    assert (state.prewarming.open, state.prewarming.done) == ({}, {"bundles/BP001/1.0.0+x": "warmed"})
    state = apply(state, RUN, PrewarmEnded({}))
    assert not state.unsettled
    assert frame_type(BundleEnded("warmed", True)) is Type.COMMIT
    assert frame_type(BundleEnded("lost", False)) is Type.ABORT


@pytest.mark.parametrize(
    "records",
    [
        [BundleBegan("bundles/BP001/1.0.0+x")],
        [PREWARM, PREWARM],
        [PREWARM, BundleBegan("bundles/BP002/1.0.0+x")],
        [PREWARM, BundleTimed(MADE)],
        [PREWARM, BundleEnded("warmed", True)],
        [PREWARM, PrewarmEnded({}), BundleBegan("bundles/BP001/1.0.0+x")],
        [PREWARM, RunAbandoned("died"), PrewarmEnded({})],
        [PREWARM, JobBegan(0, "k")],
    ],
)
def test_records_that_no_prewarm_writes_are_refused(records):
    state = RunState()
    with pytest.raises(ImpossibleRecord):  # noqa: PT012
        for record in records:
            state = apply(state, FIRST, record)


def test_a_run_and_a_prewarm_do_not_share_a_journal(began):
    with pytest.raises(ImpossibleRecord):
        apply(began, RUN, PREWARM)
