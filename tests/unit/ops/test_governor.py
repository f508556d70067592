"""Ladder, breakers and conservative mode in whole runs; only the workers are simulated."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.forging import Simulator, built, forge, job, plan, proved
from tezzeret_cli.bundle.read import read_manifest
from tezzeret_cli.bundle.scan import published
from tezzeret_cli.health.breaker import GOOD_JOBS
from tezzeret_cli.health.record import HealthRecords
from tezzeret_cli.host.gpu import Gpu
from tezzeret_cli.host.memory import Memory
from tezzeret_cli.model.descriptor import Descriptor
from tezzeret_cli.model.events import BreakerMoved, Heartbeat, ModeEntered, Notice, NullObserver
from tezzeret_cli.model.health import BreakerRule, Outcome
from tezzeret_cli.model.manifest import Reason
from tezzeret_cli.model.report import JobReport, Status
from tezzeret_cli.model.run import CompileOptions
from tezzeret_cli.ops.attempt import Failure
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.ops.governor import GPU_S, LONGER, MEMORY_S, SAMPLE_S, Governor, Pressure
from tezzeret_cli.strategies import AGGRESSIVE, FAST, STANDARD, STRATEGIES
from tezzeret_cli.worker.task import OutOfMemory, TimedOut

GOOD = JobReport("BP001", "1.0.0", Status.COMPILED, "fast", 1.0, False, None, None)
LADDER = tuple(STRATEGIES.values())
RULES = (BreakerRule("memory", 3, 30.0), BreakerRule("gpu", 5, 60.0), BreakerRule("timeout", 2, 300.0))


class Seen(NullObserver):
    def __init__(self) -> None:
        self.events: list[object] = []

    def on_event(self, event) -> None:
        self.events.append(event)


def jobs(*names: str, strategy=STANDARD, **changes):
    return [job(name, strategy=strategy, **changes) for name in names]


def run(store, wanted, script, **options):
    seen = Seen()
    options = {"ladder": LADDER, "breakers": RULES, "workers": 2} | options
    report = compile_blueprints(plan(store, wanted, **options), forge(store, Simulator(script), seen))
    return report, seen


def works_below(*failing: str, ending=None):
    """Builds of the strategies named end badly, all others work."""

    def script(step, request):
        if step == "prove":
            return proved(), "load"
        if request.compile and request.job.strategy.name in failing:
            return ending or TimedOut(1), "compile forward"
        return built(request), "compile forward"

    return script


def test_a_job_goes_down_the_ladder_and_the_bundle_says_so(store):
    report, _ = run(store, jobs("BP001", strategy=AGGRESSIVE), works_below("aggressive", "standard"))
    (ended,) = report.jobs
    assert (ended.status, ended.strategy) == (Status.COMPILED, "fast")
    (item,) = published(store)
    manifest = read_manifest(item.path)[0]
    assert manifest.compile_strategy == "fast"
    assert manifest.notes[:2] == (
        "aggressive: not done after 1 s; tried with standard",
        "standard: not done after 1 s; tried with fast",
    )


def test_a_job_that_fails_on_every_rung_ships_as_a_fallback(store):
    report, _ = run(store, jobs("BP001"), works_below("standard", "fast"))
    (ended,) = report.jobs
    assert (ended.status, ended.reason_kind) == (Status.FALLBACK, "timeout")


def test_a_graph_break_skips_the_rungs_that_cannot_help(store):
    tried = []

    def script(step, request):
        if step == "prove":
            return proved(), "load"
        tried.append(request.job.strategy.name)
        return built(request, Reason("graph_break", "it breaks", True)), "capture"

    report, _ = run(store, jobs("BP001", strategy=AGGRESSIVE), script)
    assert report.jobs[0].status is Status.FALLBACK
    assert tried == ["aggressive"]


def test_timeouts_open_the_breaker_and_the_rest_is_made_fast_and_alone(store):
    report, seen = run(store, jobs("BP001", "BP002", "BP003", "BP004"), works_below("standard"), workers=1)
    strategies = [(ended.status, ended.strategy) for ended in report.jobs]
    assert strategies == [(Status.COMPILED, "fast")] * 4
    assert report.breakers["timeout"] == "open"
    assert report.conservative == ("the timeout breaker is open",)
    assert [ended.strategy_reason for ended in report.jobs] == [
        None,
        None,
        *["the timeout breaker is open"] * 2,
    ]
    assert [event.reasons for event in seen.events if isinstance(event, ModeEntered)] == [report.conservative]
    moved = [event for event in seen.events if isinstance(event, BreakerMoved)]
    assert moved == [BreakerMoved("timeout", "open", here=True)]


def test_the_next_run_knows_what_the_last_one_met(store):
    run(store, jobs("BP001", "BP002"), works_below("standard"), workers=1)
    report, _ = run(store, jobs("BP003"), works_below())
    assert report.jobs[0].strategy == "fast"
    assert report.jobs[0].strategy_reason == "the timeout breaker is open"


def test_what_was_made_in_need_is_made_again_in_better_times(store):
    run(store, jobs("BP001"), works_below(), conservative=True)
    report, _ = run(store, jobs("BP001"), works_below())
    assert (report.jobs[0].status, report.jobs[0].strategy) == (Status.COMPILED, "standard")
    report, _ = run(store, jobs("BP001"), works_below())
    assert report.jobs[0].status is Status.CACHED


def test_quarantine_only_jobs_feed_no_breaker(store):
    hostile = Descriptor("BP047", "identity_passthrough", quarantine_only=True)
    descriptors = [msgspec.structs.replace(hostile, blueprint_id=f"BP04{n}") for n in range(4)]
    wanted = [job(d.blueprint_id, strategy=STANDARD, descriptor=d) for d in descriptors]
    report, _ = run(store, wanted, works_below("standard", "fast"))
    assert set(report.breakers.values()) == {"closed"}
    assert report.conservative == ()


def test_memory_failures_open_the_memory_breaker(store):
    ending = OutOfMemory(2 << 30, 1 << 30)
    report, _ = run(store, jobs("BP001", "BP002"), works_below("standard", "fast", ending=ending), workers=1)
    assert report.breakers["memory"] == "open"


def test_conservative_mode_can_be_asked_for(store):
    report, _ = run(store, jobs("BP001", strategy=AGGRESSIVE), works_below(), conservative=True)
    assert report.jobs[0].strategy == "fast"
    assert report.conservative == ("it was asked for",)


@pytest.fixture
def governor(tmp_path):
    """``governor(**options)``: one with a machine of 16 GiB and a clock that stands at 1000 s."""

    def make(
        available: int = 16 << 30,
        now=lambda: 1000.0,
        observer=None,
        memory=None,
        gpus=lambda own: (),
        **options,
    ) -> Governor:
        wanted = CompileOptions(ladder=LADDER, breakers=RULES, **options)
        found = Memory(16 << 30, available, "machine", 0.0)
        return Governor(
            HealthRecords(tmp_path, RULES),
            wanted,
            observer or NullObserver(),
            now,
            now,
            memory or (lambda: found),
            gpus,
        )

    return make


def test_a_job_starts_only_where_its_memory_fits(governor):
    small, big = job("BP001", strategy=FAST), job("BP002", strategy=STANDARD)
    assert governor().may_start(0, big, [big])
    assert not governor().may_start(0, small, [big, big])
    assert not governor(available=7 << 30).may_start(0, big, [small])
    assert governor(available=7 << 30).may_start(0, big, [])


def test_quarantine_only_jobs_have_no_neighbour(governor):
    hostile = job("BP047", strategy=FAST, descriptor=Descriptor("BP047", "memory_leak", quarantine_only=True))
    assert governor().may_start(0, hostile, [])
    assert not governor().may_start(0, hostile, [job(strategy=FAST)])
    assert not governor().may_start(0, job(strategy=FAST), [hostile])


def test_conservative_mode_gives_more_time_and_less_of_a_gpu(governor):
    calm, careful = governor(), governor(conservative=True)
    made = careful.adjusted(job(strategy=STANDARD))
    assert made.strategy.name == "fast"
    assert made.strategy.timeout_s == FAST.timeout_s * LONGER
    assert (calm.gpu_share, careful.gpu_share) == (0.25, 0.15)
    assert not careful.may_start(0, made, [made])


def test_an_open_gpu_breaker_moves_its_jobs_to_the_cpu(governor, tmp_path):
    HealthRecords(tmp_path, RULES).add([Outcome(999.0, "gpu")] * 5)
    found = governor()
    assert found.adjusted(job(strategy=STANDARD, device="cuda")).strategy.name == "emergency"


def test_it_is_left_when_breakers_are_closed(governor, tmp_path):
    HealthRecords(tmp_path, RULES).add([Outcome(990.0, "timeout")] * 2)
    now = [1000.0]
    found = governor(now=lambda: now[0])
    assert found.conservative == ("the timeout breaker is open",)
    now[0] = 1300.0
    for _ in range(GOOD_JOBS):
        assert found.conservative
        found.ended(job(), GOOD, [])
    assert found.conservative == ()


def test_a_breaker_is_told_of_as_it_opens_is_half_open_and_closes(governor):
    now, seen = [1000.0], Seen()
    found = governor(now=lambda: now[0], observer=seen)
    late = Failure("timeout", "not done", "cpu")
    for _ in range(2):
        found.ended(job(), msgspec.structs.replace(GOOD, status=Status.FALLBACK), [late])
    now[0] = 1300.0
    found.tick()
    for _ in range(GOOD_JOBS):
        found.ended(job(), GOOD, [])
    assert [event for event in seen.events if isinstance(event, BreakerMoved)] == [
        BreakerMoved("timeout", "open", here=True),
        BreakerMoved("timeout", "half_open"),
        BreakerMoved("timeout", "closed", here=True),
    ]


def test_what_another_run_did_to_a_breaker_is_not_told_as_ours(governor, tmp_path):
    seen = Seen()
    found = governor(observer=seen)
    HealthRecords(tmp_path, RULES).add([Outcome(1000.0, "gpu")] * 5)
    found.ended(job(), GOOD, [Failure("timeout", "not done", "cpu")])
    assert [event for event in seen.events if isinstance(event, BreakerMoved)] == [
        BreakerMoved("gpu", "open")
    ]


def test_a_run_gives_a_sign_of_life_each_time_it_looks_at_the_machine(governor):
    now, seen = [1000.0], Seen()
    found = governor(now=lambda: now[0], observer=seen, conservative=True)
    for _ in range(3):
        found.tick()
        found.tick()
        now[0] += SAMPLE_S
    beats = [event for event in seen.events if isinstance(event, Heartbeat)]
    closed = {"memory": "closed", "gpu": "closed", "timeout": "closed"}
    assert beats == [Heartbeat(closed, ("it was asked for",))] * 3


def memory(percent: float) -> Memory:
    return Memory(1000, int(1000 - 10 * percent), "machine", None)


def test_memory_pressure_holds_until_it_is_really_gone():
    pressure = Pressure()
    assert pressure.reasons(memory(85), (), 0.0) == ()
    assert pressure.reasons(memory(85), (), MEMORY_S) == ("memory use stays above 80 %",)
    assert pressure.reasons(memory(75), (), MEMORY_S + 2) == ("memory use stays above 80 %",)
    assert pressure.reasons(memory(65), (), MEMORY_S + 4) == ()
    assert pressure.reasons(memory(85), (), MEMORY_S + 6) == ()


def test_waiting_for_memory_is_pressure_too():
    stalled = msgspec.structs.replace(memory(10), pressure=12.0)
    pressure = Pressure()
    assert pressure.reasons(stalled, (), 0.0) == ()
    assert pressure.reasons(stalled, (), MEMORY_S) == ("processes wait for memory 10 % of the time",)
    assert pressure.reasons(memory(10), (), MEMORY_S + 2) == ()


def test_what_the_machine_does_not_tell_is_said_once_and_the_rest_counts(governor):
    now, seen = [1000.0], Seen()
    options = {"memory": lambda: memory(90), "gpus": lambda own: None, "observer": seen}
    found = governor(now=lambda: now[0], **options)
    found.adjusted(job("BP001", device="cuda"))
    for _ in range(7):
        found.tick()
        now[0] += SAMPLE_S
    said = [event.message for event in seen.events if isinstance(event, Notice)]
    assert [text.partition(":")[0] for text in said] == [
        "this machine does not tell how long processes wait for memory (PSI)",
        "this machine has no NVML",
    ]
    assert found.conservative == ("memory use stays above 80 %",)


def test_a_gpu_counts_when_others_keep_it_busy_for_minutes():
    busy = Gpu(0, "card", "9.0", 90.0, 1, 2, (4711,))
    mine = msgspec.structs.replace(busy, others=())
    pressure = Pressure()
    assert pressure.reasons(memory(10), (busy,), 0.0) == ()
    assert pressure.reasons(memory(10), (busy,), GPU_S) == ("others keep a GPU busier than 20 %",)
    assert pressure.reasons(memory(10), (mine,), GPU_S + 2) == ()
