"""Every ending at every step of a job becomes the right status, and nothing half done stays."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tezzeret_cli.bundle.read import read_manifest
from tezzeret_cli.bundle.scan import published
from tezzeret_cli.keys import HostFacts
from tezzeret_cli.model.build import BuildRefused, BuildRequest, BuildResult, ProofResult
from tezzeret_cli.model.descriptor import Descriptor
from tezzeret_cli.model.events import NullObserver
from tezzeret_cli.model.job import Factory, Job, Strategy
from tezzeret_cli.model.manifest import Graph, Reason, Target, Timing, Tree, TreeKind, Variant
from tezzeret_cli.model.report import Status, exit_code
from tezzeret_cli.ops.attempt import BUILD
from tezzeret_cli.ops.compile import CompileOptions, automatic_workers, compile_blueprints
from tezzeret_cli.store.layout import open_store
from tezzeret_cli.worker.task import (
    Cancelled,
    Crashed,
    OutOfMemory,
    Raised,
    Returned,
    Task,
    TaskEnded,
    TaskStage,
    TimedOut,
)

FACTS = HostFacts("2.13.0", "g++ 12", "linux x86_64 avx2", "avx2")
TARGET = Target("linux", "x86_64", "avx2", (), "cpu")
TIMING = Timing(1, 1, 1, 1, 1)
LOST = [
    Crashed(9, None),
    Crashed(None, 0),
    TimedOut(1),
    OutOfMemory(2, 1),
    Raised("X", "y", ""),
    Returned(b"\xc1"),
]


def job(blueprint_id: str = "BP001", **changes: object) -> Job:
    made = Job(Descriptor(blueprint_id, "a"), {}, Factory("m:f", "d"), Strategy("standard"), key=blueprint_id)
    return msgspec.structs.replace(made, **changes)


class Simulator:
    """A ``Runner`` whose workers do what a script says: they write the files that real ones would."""

    def __init__(self, script) -> None:
        self._script = script
        self._events: list[object] = []
        self.started: list[str] = []
        self.closed = False

    def __call__(self, preload, env):
        return self

    def start(self, task: Task) -> None:
        if task.entry == BUILD:
            request = msgspec.msgpack.decode(task.payload, type=BuildRequest)
            step = "build" if request.compile else "eager"
            self.started.append(step)
            ending, stage = self._script(step, request)
            self._events.append(TaskStage(task.id, stage))
        else:
            self.started.append("prove")
            ending, _ = self._script("prove", None)
        self._events.append(TaskEnded(task.id, ending, 0.1, 1))

    def wait(self, timeout_s):
        events, self._events = self._events, []
        return events

    def cancel(self):
        self._events = [
            msgspec.structs.replace(event, ending=Cancelled()) if isinstance(event, TaskEnded) else event
            for event in self._events
        ]

    def close(self):
        self.closed = True


def built(request: BuildRequest, reason: Reason | None = None) -> Returned:
    staging = Path(request.staging)
    (staging / "tensors.safetensors").write_bytes(b"t")
    payload = ["tensors.safetensors"]
    variants: tuple[Variant, ...] = ()
    if request.compile and reason is None:
        (staging / "lib").mkdir()
        (staging / "lib/v0.forward.so").write_bytes(b"elf")
        payload.append("lib/v0.forward.so")
        tree = Tree(TreeKind.TUPLE)
        variants = (Variant("v0", None, tree, tree, (), Graph("lib/v0.forward.so", (), 1)),)
    result = BuildResult(tuple(payload), (), (), variants, target=TARGET, torch="2.13.0", reason=reason)
    return Returned(msgspec.msgpack.encode(result))


def proved(reason: Reason | None = None) -> Returned:
    return Returned(msgspec.msgpack.encode(ProofResult(None if reason else TIMING, reason=reason)))


def run(store: Path, jobs, script, **options):
    simulator = Simulator(script)
    report = compile_blueprints(
        jobs,
        open_store(store),
        FACTS,
        CompileOptions(workers=2, cache=str(store.parent / "cache"), **options),
        environment={},
        make_runner=simulator,
        observer=NullObserver(),
    )
    assert simulator.closed
    assert list((store / "tmp").iterdir()) == []
    assert list((store.parent / "cache" / "scratch").iterdir()) == []
    return report, simulator


def check_store(store: Path) -> list[bool]:
    """Whether each published bundle is compiled; a compiled one must have its proof's timing."""
    manifests = [read_manifest(item.path)[0] for item in published(store)]
    for manifest in manifests:
        assert manifest.eager_fallback == (manifest.timing is None)
        assert manifest.eager_fallback == (manifest.variants == ())
        listed = {entry.path for entry in manifest.files}
        assert any(path.endswith(".so") for path in listed) == (not manifest.eager_fallback)
    return [not manifest.eager_fallback for manifest in manifests]


def test_a_build_that_proves_itself_is_published_as_compiled(store):
    report, simulator = run(
        store, [job()], lambda step, r: (built(r) if step == "build" else proved(), "compile")
    )
    assert [j.status for j in report.jobs] == [Status.COMPILED]
    assert simulator.started == ["build", "prove"]
    assert check_store(store) == [True]
    assert exit_code(report) == 0


def test_the_second_run_does_nothing(store):
    def script(step, request):
        return (built(request) if step == "build" else proved()), "compile"

    run(store, [job()], script)
    simulator = Simulator(script)
    report = compile_blueprints(
        [job()],
        open_store(store),
        FACTS,
        CompileOptions(cache=str(store.parent / "cache")),
        environment={},
        make_runner=simulator,
        observer=NullObserver(),
    )
    assert [j.status for j in report.jobs] == [Status.CACHED]
    assert simulator.started == []


@pytest.mark.parametrize("lost", LOST, ids=lambda ending: type(ending).__name__)
def test_a_compile_that_is_lost_becomes_a_fallback_if_eager_runs(store, lost):
    def script(step, request):
        if step == "build":
            return lost, "compile forward"
        return (built(request) if step == "eager" else proved()), "eager"

    report, simulator = run(store, [job()], script)
    assert [j.status for j in report.jobs] == [Status.FALLBACK]
    assert simulator.started == ["build", "eager", "prove"]
    assert check_store(store) == [False]
    assert exit_code(report) == 3


@pytest.mark.parametrize("lost", LOST, ids=lambda ending: type(ending).__name__)
def test_a_module_whose_eager_is_lost_is_failed_at_once(store, lost):
    report, simulator = run(store, [job()], lambda step, r: (lost, "eager"))
    assert [j.status for j in report.jobs] == [Status.FAILED]
    assert simulator.started == ["build"]
    assert check_store(store) == []
    assert exit_code(report) == 1


def test_a_factory_that_refuses_is_failed(store):
    refusal = Returned(msgspec.msgpack.encode(BuildRefused(Reason("refused", "no", True))))
    report, _ = run(store, [job()], lambda step, r: (refusal, "construct"))
    assert [(j.status, j.reason) for j in report.jobs] == [(Status.FAILED, "no")]


def test_wrong_numbers_are_never_published_as_compiled(store):
    wrong = proved(Reason("wrong_numbers", "off by one", True))
    answers = iter([wrong, proved()])

    def script(step, request):
        return (built(request) if step == "build" else next(answers)), "compile"

    report, simulator = run(store, [job()], script)
    assert simulator.started == ["build", "prove", "prove"]
    assert [(j.status, j.reason_kind) for j in report.jobs] == [(Status.FALLBACK, "wrong_numbers")]
    assert check_store(store) == [False]


@pytest.mark.parametrize("lost", LOST, ids=lambda ending: type(ending).__name__)
def test_a_proof_that_is_lost_is_no_proof(store, lost):
    answers = iter([lost, proved()])

    def script(step, request):
        return (built(request) if step == "build" else next(answers)), "compile"

    report, _ = run(store, [job()], script)
    assert [j.status for j in report.jobs] == [Status.FALLBACK]
    assert check_store(store) == [False]


def test_a_payload_that_leaves_its_folder_is_refused(store):
    def script(step, request):
        (Path(request.staging) / "tensors.safetensors").symlink_to("/etc/passwd")
        result = BuildResult(("tensors.safetensors",), (), target=TARGET)
        return Returned(msgspec.msgpack.encode(result)), "compile"

    report, _ = run(store, [job()], script)
    assert [j.status for j in report.jobs] == [Status.FAILED]
    assert "not a regular file" in report.jobs[0].reason


def test_a_quarantined_failure_does_not_count_unless_strict(store):
    quarantined = job(descriptor=Descriptor("BP001", "a", quarantine_only=True))
    report, _ = run(store, [quarantined], lambda step, r: (Crashed(9, None), "eager"))
    assert (exit_code(report), exit_code(report, strict=True)) == (0, 1)


def test_a_stop_ends_the_run_with_what_is_done(store):
    loops = []

    def script(step, request):
        if step == "prove":
            loops[0].stop()
            return proved(), ""
        return built(request), "compile"

    report = compile_blueprints(
        [job("BP001"), job("BP002"), job("BP003")],
        open_store(store),
        FACTS,
        CompileOptions(workers=1, cache=str(store.parent / "cache")),
        environment={},
        make_runner=Simulator(script),
        observer=NullObserver(),
        on_start=loops.append,
    )
    assert report.interrupted
    assert exit_code(report) == 130
    assert list((store / "tmp").iterdir()) == []
    assert {j.status for j in report.jobs} <= {Status.COMPILED, Status.FAILED, Status.SKIPPED}


ENDINGS = st.sampled_from(["ok", "unsupported", "refused", *range(len(LOST))])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ENDINGS, ENDINGS, ENDINGS), min_size=1, max_size=4), st.booleans())
def test_no_sequence_of_endings_publishes_an_unproved_bundle(tmp_path_factory, plans, in_eager):
    store = tmp_path_factory.mktemp("run") / "store"
    scripts = {f"BP{n:03d}": iter(plan) for n, plan in enumerate(plans)}
    current = {"id": ""}

    def script(step, request):
        if request is not None:
            current["id"] = request.job.blueprint_id
        choice = next(scripts[current["id"]], "ok")
        stage = "eager" if in_eager else "compile forward"
        if isinstance(choice, int):
            return LOST[choice], stage
        if choice == "refused" and step != "prove":
            return Returned(msgspec.msgpack.encode(BuildRefused(Reason("refused", "no", True)))), stage
        reason = Reason("unsupported", "no", True) if choice == "unsupported" else None
        return (proved(reason) if step == "prove" else built(request, reason)), stage

    simulator = Simulator(script)
    report = compile_blueprints(
        [job(name) for name in scripts],
        open_store(store),
        FACTS,
        CompileOptions(workers=1, cache=str(store.parent / "cache")),
        environment={},
        make_runner=simulator,
        observer=NullObserver(),
    )
    compiled = check_store(store)
    assert compiled.count(True) == report.counts["compiled"]
    assert compiled.count(False) == report.counts["fallback"]
    assert sum(report.counts.values()) == len(plans)


@pytest.mark.parametrize(
    ("cores", "free", "budget", "expected"),
    [(2, 24 << 30, 8 << 30, 2), (64, 24 << 30, 8 << 30, 3), (4, 1 << 30, 8 << 30, 1)],
)
def test_workers_follow_cores_and_memory(cores, free, budget, expected):
    assert automatic_workers(cores, free, budget) == expected
