"""Every ending at every step of a job becomes the right status, and nothing half done stays."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.forging import TARGET, Simulator, built, forge, job, plan, proved, script
from tezzeret_cli.bundle.read import read_manifest
from tezzeret_cli.bundle.scan import published
from tezzeret_cli.host import memory
from tezzeret_cli.model.build import BuildRefused, BuildResult
from tezzeret_cli.model.descriptor import Descriptor
from tezzeret_cli.model.manifest import Reason
from tezzeret_cli.model.report import Status, exit_code
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.ops.execute import automatic_workers
from tezzeret_cli.worker.task import Crashed, OutOfMemory, Raised, Returned, TimedOut

LOST = [
    Crashed(9, None),
    Crashed(None, 0),
    TimedOut(1),
    OutOfMemory(2, 1),
    Raised("X", "y", ""),
    Returned(b"\xc1"),
]


def run(store: Path, jobs, script, **options):
    simulator = Simulator(script)
    report = compile_blueprints(plan(store, jobs, workers=2, **options), forge(store, simulator))
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


@pytest.mark.parametrize(("cores", "workers", "threads"), [(6, 2, "3"), (3, 2, "1"), (1, 2, "1")])
def test_the_processors_that_may_be_used_are_shared_by_the_jobs(store, monkeypatch, cores, workers, threads):
    class Warm(Simulator):
        def __call__(self, templates):
            seen.extend(template.env for template in templates.values())
            return self

    seen = []
    monkeypatch.setattr(memory, "usable_cores", lambda: cores)
    jobs = [job("BP001"), job("BP002")]
    compile_blueprints(plan(store, jobs, workers=workers), forge(store, Warm(script)))
    assert {(env["OMP_NUM_THREADS"], env["MKL_NUM_THREADS"]) for env in seen} == {(threads, threads)}


def test_the_second_run_does_nothing(store):
    def script(step, request):
        return (built(request) if step == "build" else proved()), "compile"

    run(store, [job()], script)
    simulator = Simulator(script)
    report = compile_blueprints(plan(store, [job()]), forge(store, simulator))
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
        plan(store, [job("BP001"), job("BP002"), job("BP003")], workers=1),
        forge(store, Simulator(script), on_start=loops.append),
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
        plan(store, [job(name) for name in scripts], workers=1), forge(store, simulator)
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
