"""The child's entry for a build: one job in, payload files and their description out."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import torch
from safetensors.torch import save
from torch import Tensor

from tezzeret_cli import isa
from tezzeret_cli.blueprints.construct import construct
from tezzeret_cli.errors import InputError
from tezzeret_cli.model.build import BuildRefused, BuildRequest, BuildResult, WorkerReply
from tezzeret_cli.model.job import BatchRange, Job
from tezzeret_cli.model.manifest import Graph, Reason, Target, TensorGuard, Tree, Variant
from tezzeret_cli.runtime.tensors import aligned
from tezzeret_cli.worker import private_inductor, reference
from tezzeret_cli.worker.capture import (
    Capture,
    Specialised,
    batch_inputs,
    capture,
    check_shapes,
    symbol_ranges,
    tensor_guards,
)
from tezzeret_cli.worker.elf import needed_symbols
from tezzeret_cli.worker.library import Library
from tezzeret_cli.worker.lower import Toolbox, lower
from tezzeret_cli.worker.reasons import first_line, reason_for
from tezzeret_cli.worker.shapes import batch_ladder, batches, covered, smallest, summary
from tezzeret_cli.worker.subject import Subject, example_calls, flatten_arguments
from tezzeret_cli.worker.toolchain import CompilerError
from tezzeret_cli.worker.unsupported import Unsupported

TENSORS = "tensors.safetensors"
GUARDS_TEXT = "guards.txt"

TOLERANCES = {torch.float64: 1e-7, torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 5e-3}
"""Largest difference from eager that counts as equal, relative to the largest magnitude in a tensor."""


def build(payload: bytes, stage: Callable[[str], None]) -> bytes:
    """Serve one ``BuildRequest``; answers with a ``BuildResult`` or ``BuildRefused``."""
    request = msgspec.msgpack.decode(payload, type=BuildRequest)
    reply: WorkerReply
    try:
        reply = _Build(request, stage).run()
    except _Refused as refused:
        reply = BuildRefused(refused.reason)
    return msgspec.msgpack.encode(reply)


class _Refused(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.message)
        self.reason = reason


class _Build:
    """One build in progress; its steps in order are the methods that ``run`` calls."""

    def __init__(self, request: BuildRequest, stage: Callable[[str], None]) -> None:
        self._request = request
        self._job: Job = request.job
        self._staging = Path(request.staging)
        self._scratch = Path(request.scratch)
        self._shared = Path(request.shared)
        self._device = reference.prepared(self._job.device)
        self._stages: dict[str, float] = {}
        self._children_before = _children_ms()
        self._announce = stage
        self._current: tuple[str, float] | None = None
        self._notes: list[str] = []
        self._cases: list[tuple[reference.Case, reference.Values]] = []
        self._guard_texts: list[str] = []
        self._quarantine: str | None = None
        self._sparse: list[str] = []

    def run(self) -> BuildResult:
        self._stage("construct")
        if self._device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(self._request.gpu_share, self._device)
        subject, calls = self._construct()
        self._stage("eager")
        for tree, tensors in calls:
            self._evidence(subject, tree, tensors)
        self._write_tensors(subject)
        variants: list[Variant] = []
        guards: list[TensorGuard] = []
        reason = None
        if self._request.compile:
            try:
                variants, guards = self._compile(subject, calls)
            except Exception as error:
                reason = reason_for(error)
        if reason is None and self._request.compile:
            reference.write(self._scratch, self._cases)
        self._stage("describe")
        return self._result(subject, variants, guards, reason)

    def _stage(self, name: str) -> None:
        now = time.monotonic()
        if self._current is not None:
            previous, since = self._current
            self._stages[previous] = self._stages.get(previous, 0.0) + (now - since) * 1e3
        self._current = (name, now)
        self._announce(name)

    def _construct(self) -> tuple[Subject, list[tuple[Tree, list[Tensor]]]]:
        try:
            module, examples = construct(self._job.factory, self._job.parameters)
            calls = example_calls(self._job, examples)
        except (InputError, ValueError) as error:
            raise _Refused(Reason("refused", str(error), deterministic=True)) from error
        if self._job.dtype is not None:
            module = module.to(getattr(torch, self._job.dtype))
        subject = Subject.of(module.to(self._device))
        try:
            return subject, [flatten_arguments(call, subject.names) for call in calls]
        except Unsupported as error:
            raise _Refused(Reason("refused", error.message, deterministic=True)) from error

    def _evidence(self, subject: Subject, tree: Tree, tensors: Sequence[Tensor]) -> None:
        """Eager itself must run forward and backward, or there is nothing to ship."""
        try:
            values = reference.eager_step(subject, tree, tensors, training=True, device=self._device)
        except Exception as error:
            message = f"eager itself fails: {type(error).__name__}: {first_line(error)}"
            raise _Refused(Reason("eager_failed", message, deterministic=True)) from error
        dense = {n: t for n, t in values.gradients.items() if t.layout is torch.strided}
        self._sparse += [name for name in values.gradients if name not in dense]
        found = [*values.outputs, *values.input_gradients, *dense.values()]
        bad = [t for t in found if t is not None and t.is_floating_point() and not t.isfinite().all()]
        if bad:
            self._quarantine = "eager gives NaN or infinite values for its finite example input"

    def _write_tensors(self, subject: Subject) -> None:
        state = {
            name: tensor.cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in subject.initial_state().items()
        }
        (self._staging / TENSORS).write_bytes(aligned(save(state)))

    def _compile(
        self, subject: Subject, calls: Sequence[tuple[Tree, list[Tensor]]]
    ) -> tuple[list[Variant], list[TensorGuard]]:
        """Every variant for every call; where the compiler refuses to make one library of them, once more
        with one for each graph."""
        if self._sparse:
            raise Unsupported(f"the gradient of {self._sparse[0]} is sparse; compiled code makes dense ones")
        notes = list(self._notes)
        try:
            return self._compile_into(Library(), subject, calls)
        except CompilerError as error:
            self._notes = [*notes, f"the compiler refused one library for all graphs: {error}"]
        self._cases, self._guard_texts = [], []
        return self._compile_into(Library(wanted=False), subject, calls)

    def _compile_into(
        self, library: Library, subject: Subject, calls: Sequence[tuple[Tree, list[Tensor]]]
    ) -> tuple[list[Variant], list[TensorGuard]]:
        self._library = library
        variants: list[Variant] = []
        guards: list[TensorGuard] = []
        for tree, tensors in calls[: self._job.strategy.examples]:
            if not covered(guards, variants, tensors):
                self._compile_call(subject, tree, tensors, variants, guards)
        self._stage("compile library")
        precompile = self._job.strategy.precompile
        self._notes += library.build(self._staging, self._scratch, self._shared, precompile=precompile)
        return variants, guards

    def _compile_call(
        self,
        subject: Subject,
        tree: Tree,
        tensors: Sequence[Tensor],
        variants: list[Variant],
        guards: list[TensorGuard],
    ) -> None:
        """Compile the variants for one example call, with the widest batch range the module allows."""
        refused = []
        for batch in batch_ladder(self._job, tensors):
            before, noted = len(self._library), len(self._notes)
            try:
                made, made_guards, cases, texts = self._variants(subject, tree, tensors, batch, len(variants))
            except Specialised as error:
                self._library.forget(before)
                del self._notes[noted:]
                refused.append(f"batch {batch.min} to {batch.max}: {error}" if batch else str(error))
                continue
            variants.extend(made)
            guards.extend(made_guards)
            self._cases.extend(cases)
            self._guard_texts.extend(texts)
            self._notes.extend(f"dynamic batch refused, {text}" for text in refused)
            extras = self._job.strategy.extras
            if extras and batch is not None and smallest(made_guards) > self._wanted(batch):
                self._compile_single(subject, tree, tensors, variants, guards)
            return
        raise Unsupported("; ".join(refused))

    def _wanted(self, batch: BatchRange) -> int:
        """The smallest batch that was asked for, whatever rung of the ladder is served."""
        return self._job.batch.min if self._job.batch else batch.min

    def _compile_single(
        self,
        subject: Subject,
        tree: Tree,
        tensors: Sequence[Tensor],
        variants: list[Variant],
        guards: list[TensorGuard],
    ) -> None:
        """A batch of one in a variant of its own, where the dynamic one does not reach down to it."""
        moving = {id(tensor) for tensor in batch_inputs(tensors)}
        single = [tensor[:1] if id(tensor) in moving else tensor for tensor in tensors]
        try:
            reference.eager_step(subject, tree, single, training=True, device=self._device)
        except Exception as error:
            self._notes.append(f"no batch of one: eager refuses it: {first_line(error)}")
            return
        made, made_guards, cases, texts = self._variants(subject, tree, single, None, len(variants))
        variants.extend(made)
        guards.extend(made_guards)
        self._cases.extend(cases)
        self._guard_texts.extend(texts)

    def _variants(
        self,
        subject: Subject,
        tree: Tree,
        tensors: Sequence[Tensor],
        batch: BatchRange | None,
        first: int,
    ) -> tuple[list[Variant], list[TensorGuard], list[tuple[reference.Case, reference.Values]], list[str]]:
        variants: list[Variant] = []
        guards: list[TensorGuard] = []
        cases: list[tuple[reference.Case, reference.Values]] = []
        texts: list[str] = []
        for mode, found in self._captures(subject, tree, tensors, batch):
            number = first + len(variants)
            name = f"v{number}"
            for stale in self._scratch.glob(f"{name}.*"):
                stale.rename(stale.with_name(f"refused-{time.monotonic_ns()}-{stale.name}"))
            tools = Toolbox(
                self._staging,
                self._scratch,
                self._library,
                self._device,
                self._patch(),
                self._job.strategy,
                self._stage,
                self._notes.append,
            )
            variant = lower(found, name, mode, tools)
            ranges = symbol_ranges(found)
            guards.extend(tensor_guards(found, ranges, number, subject))
            variants.append(variant)
            texts.append(f"# {name}\n" + "\n".join(found.trace.guards))
            self._stage("reference")
            modes = (True, False) if mode is None else (mode,)
            for training in modes:
                for case, values in self._reference(subject, tree, tensors, training, list(ranges.values())):
                    check_shapes(found, values.inputs, values.outputs)
                    cases.append((case, values))
        return variants, guards, cases, texts

    def _captures(
        self, subject: Subject, tree: Tree, tensors: Sequence[Tensor], batch: BatchRange | None
    ) -> list[tuple[bool | None, Capture]]:
        """What is to be compiled, with the mode it is for; ``None`` stands for both modes."""
        self._stage("capture")
        before = subject.initial_state()

        def captured(training: bool) -> Capture:
            return capture(
                subject,
                tree,
                tensors,
                training=training,
                backward=True,
                batch=batch,
                device=self._device,
                lines=self._job.strategy.lines,
            )

        try:
            train = captured(True)
            evaluate = captured(False) if train.reads_mode or subject.switches_itself else train
        finally:
            subject.restore(before)
        if evaluate is train or _same(train, evaluate):
            return [(None, train)]
        return [(True, train), (False, evaluate)]

    def _patch(self) -> dict[str, object]:
        options: dict[str, object] = {
            "cpp.threads": os.cpu_count() or 1,
            "cpp.dynamic_threads": True,
            "aot_inductor.enable_line_tables": False,
            "aot_inductor.embed_kernel_binary": True,
        }
        level = isa.level_named(self._request.isa)
        if level is not None:
            private_inductor.use_vector_isa(level.name)
            options["cpp.march"] = level.march
        return private_inductor.supported_options({**options, **self._job.strategy.inductor})

    def _reference(
        self,
        subject: Subject,
        tree: Tree,
        tensors: Sequence[Tensor],
        training: bool,
        ranges: Sequence[BatchRange],
    ) -> list[tuple[reference.Case, reference.Values]]:
        cases = []
        for example in batches(tensors, ranges):
            values = reference.eager_step(subject, tree, example, training=training, device=self._device)
            if reference.depends_on_gradients(
                subject, tree, example, values, training=training, device=self._device
            ):
                raise Unsupported("it computes something else when no gradient is wanted")
            tolerance = max(
                (TOLERANCES.get(out.dtype, 1e-4) for out in values.outputs if out is not None), default=1e-4
            )
            case = reference.Case(
                training=training,
                arguments=tree,
                strides=tuple(tuple(tensor.stride()) for tensor in values.inputs),
                outputs=len(values.outputs),
                tolerance=tolerance,
                rounding=reference.rounding(
                    subject, tree, example, values, tolerance, training=training, device=self._device
                ),
            )
            cases.append((case, values))
        return cases

    def _result(
        self,
        subject: Subject,
        variants: Sequence[Variant],
        guards: Sequence[TensorGuard],
        reason: Reason | None,
    ) -> BuildResult:
        payload = [TENSORS]
        if variants:
            text = "\n\n".join(self._guard_texts) + "\n"
            (self._staging / GUARDS_TEXT).write_text(text, encoding="utf-8")
            payload.append(GUARDS_TEXT)
            for variant in variants:
                for direction in ("forward", "backward", "inference"):
                    graph: Graph | None = getattr(variant, direction)
                    if graph is not None:
                        payload += (graph.library, f"graphs/{variant.name}.{direction}.txt")
            payload = list(dict.fromkeys(payload))
        libraries = [self._staging / path for path in payload if path.endswith(".so")]
        return BuildResult(
            payload=tuple(payload),
            slots=subject.slots,
            modules=subject.modules,
            variants=tuple(variants),
            guard_spec=tuple(guards),
            guard_spec_summary=tuple(summary(guard) for guard in guards if guard.kind.value == "input"),
            target=self._target(libraries),
            torch=str(torch.__version__),
            reason=reason,
            notes=tuple(self._notes),
            quarantine=self._quarantine,
            compiler_ms=_children_ms() - self._children_before,
            stages_ms=self._stages,
        )

    def _target(self, libraries: Sequence[Path]) -> Target:
        flags = isa.cpu_flags()
        level = isa.level_named(self._request.isa)
        exact = level is not None and "cpp.march" in private_inductor.supported_options({"cpp.march": ""})
        capability = None
        if self._device.type == "cuda":
            capability = ".".join(map(str, torch.cuda.get_device_capability(self._device)))
        return Target(
            system=platform.system().lower(),
            architecture=platform.machine(),
            isa=level.name if level else "default",
            cpu_flags=level.flags if level and exact else tuple(sorted(flags)),
            device=self._device.type,
            capability=capability,
            symbols=needed_symbols(libraries),
        )


def _children_ms() -> float:
    """Processor time of all child processes that have ended: compilers and linkers."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1e3


def _same(left: Capture, right: Capture) -> bool:
    return (
        left.code == right.code
        and left.leaves == right.leaves
        and left.sources == right.sources
        and left.trace.mutated == right.trace.mutated
    )
