"""A forge whose workers are simulated: store, journal and job loop are the real ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from tezzeret_cli.blueprints.resolve import Resolver
from tezzeret_cli.model.build import BuildRequest, BuildResult, ProofResult
from tezzeret_cli.model.descriptor import Descriptor
from tezzeret_cli.model.events import NullObserver
from tezzeret_cli.model.job import Job, Strategy
from tezzeret_cli.model.manifest import Graph, Reason, Target, Timing, Tree, TreeKind, Variant
from tezzeret_cli.model.run import CompileOptions, HostFacts, RunPlan
from tezzeret_cli.ops.attempt import BUILD
from tezzeret_cli.ops.execute import Forge
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.store.layout import open_store
from tezzeret_cli.worker.task import Cancelled, Returned, Task, TaskEnded, TaskStage

FACTS = HostFacts("2.13.0", "g++ 12", "linux x86_64 avx2", "avx2")
TARGET = Target("linux", "x86_64", "avx2", (), "cpu")
BUILTIN_NAME = "identity_passthrough"
FACTORY = Resolver().resolve(Descriptor("BP001", BUILTIN_NAME))
TIMING = Timing(1, 1, 1, 1, 1)


def job(blueprint_id: str = "BP001", **changes: object) -> Job:
    key = hashlib.sha256(blueprint_id.encode()).hexdigest()
    made = Job(Descriptor(blueprint_id, BUILTIN_NAME), {}, FACTORY, Strategy("standard"), key=key)
    return msgspec.structs.replace(made, **changes)


class Simulator:
    """A ``Runner`` whose workers do what a script says: they write the files that real ones would."""

    def __init__(self, script) -> None:
        self._script = script
        self._events: list[object] = []
        self.started: list[str] = []
        self.closed = False

    def __call__(self, templates):
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


def script(step, request):
    """Every build works and proves itself."""
    return (proved() if step == "prove" else built(request)), "compile"


def plan(store: Path, jobs, **options) -> RunPlan:
    """A plan for ``jobs`` on ``store``; the cache is beside it."""
    return RunPlan(
        command="compile",
        tool="0.1.0",
        store_id=open_store(store).identity.store_id,
        store=str(store),
        directory=str(store.parent),
        facts=FACTS,
        options=CompileOptions(cache=str(store.parent / "cache"), **options),
        jobs=tuple(jobs),
        created=1_800_000_000.0,
    )


def forge(store: Path, runner, observer=None, on_start=lambda loop: None) -> Forge:
    """The parts of a run on ``store``; its journals are beside it."""
    opened = open_store(store)
    runs = Runs(store.parent / "state", opened.identity.store_id)
    return Forge(opened, runs, {}, runner, observer or NullObserver(), on_start)
