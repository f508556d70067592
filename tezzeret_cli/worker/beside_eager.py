"""Training steps of a proved bundle beside eager's, in the process that proved it: what decides who serves a
batch.

Both are loaded by the consumer's loader and called as a consumer calls them. What this costs is bounded;
what cannot be compared within that is served compiled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tezzeret_cli.errors import EagerUnavailableError
from tezzeret_cli.files import lock_file
from tezzeret_cli.model.manifest import Manifest, Serving, StepTimes, Symbolic
from tezzeret_cli.runtime import BundleModule, load
from tezzeret_cli.trust import UNVERIFIED
from tezzeret_cli.worker import reference
from tezzeret_cli.worker.eager_rule import eager_batches, is_clear, step_times, told
from tezzeret_cli.worker.reference import Case, Values, leaves
from tezzeret_cli.worker.shapes import at_batch
from tezzeret_cli.worker.subject import fresh_inputs, unflatten_arguments

BUDGET_S = 1.0
"""For all steps of a bundle together, by the clock that times them. What is not measured by then is not
measured."""

PATIENCE = 20
"""So many times the budget it may take on the wall, beside other work."""

SHARE_S = 0.08
"""For the steps at one batch, where they are quick enough."""

FEWEST, MOST = 16, 120
"""Pairs of rows at one batch. After each ``FEWEST`` it is asked whether that is clear enough."""

ROW_S, LONGEST = 0.001, 8
"""Quick steps are timed in rows, as a training loop does them: so long, and at most so many."""

WIDER = 8
"""Beyond the largest batch that was proved, each one that is measured is so many times larger."""

LARGEST_STEP_MS = 10.0
"""A step at such a batch should not take longer."""


def beside_eager(
    bundle: str, compiled: BundleModule, cases: Sequence[tuple[Case, Values]], folder: Path
) -> tuple[tuple[Serving, ...], tuple[str, ...]]:
    """What the steps of each variant took and who serves them, and lines about it for people.

    ``compiled`` is the bundle, loaded to be served compiled; it is trained by this. What the module raises,
    which is proved already, ends in a line. Processes that share ``folder`` take turns on a GPU.
    """
    manifest = compiled.tezzeret.manifest
    allowed = (manifest.factory.path.replace(":", "."),)
    eager = load(bundle, prefer="eager", allow_factories=allowed, quarantined=True, trust=UNVERIFIED)
    times: dict[int, list[StepTimes]] = {}
    try:
        proved = _proved(compiled, cases)
        with own_turn(compiled.tezzeret.program.device, folder, BUDGET_S * PATIENCE):
            race = _Race(compiled, eager)
            for (variant, batch), (case, inputs) in proved.items():
                race.at(case, inputs, batch, times.setdefault(variant, []))
            for variant, found in times.items():
                largest = max(batch for number, batch in proved if number == variant)
                case, inputs = proved[variant, largest]
                for batch, tensors in _wider(manifest, variant, largest, inputs, found):
                    race.at(case, tensors, batch, found)
    except EagerUnavailableError as error:
        return (), (f"its speed was not compared with eager's: {error.message}",)
    except Exception as error:
        first = f"{type(error).__name__}: {error}".splitlines()[0]
        return (), (f"its speed was not compared with eager's: {first[:200]}",)
    serving = tuple(
        Serving(variant, tuple(found), eager_batches(found, _highest(manifest, variant)))
        for variant, found in times.items()
        if found
    )
    lines = [told(manifest.variants[s.variant].name, s.times, s.eager) for s in serving]
    return serving, tuple(line for line in lines if line)


@contextlib.contextmanager
def own_turn(device: torch.device, folder: Path, patience_s: float) -> Iterator[None]:
    """While this lasts, no other process that does the same times steps on the same GPU: it would share it
    out in slices that are longer than most steps. Raises ``TimeoutError`` where others had it all the time.

    On a CPU nobody waits: steps are timed by what they take of it.
    """
    if device.type == "cpu":
        yield
        return
    lock = lock_file(folder / f"steps-{device.type}-{device.index or 0}.lock", wait_s=patience_s)
    if lock is None:
        raise TimeoutError(f"others timed theirs on {device} for {patience_s:.0f} s")
    try:
        yield
    finally:
        lock.release()


def _proved(
    module: BundleModule, cases: Sequence[tuple[Case, Values]]
) -> dict[tuple[int, int], tuple[Case, tuple[Tensor, ...]]]:
    """An example for each variant and batch that was proved and has a gradient, small batches first; where a
    variant serves both modes, in training."""
    found: dict[tuple[int, int], tuple[Case, tuple[Tensor, ...]]] = {}
    for case, values in sorted(cases, key=lambda item: not item[0].training):
        module.train(case.training)
        args = unflatten_arguments(
            case.arguments, fresh_inputs(values.inputs, module.tezzeret.program.device)
        )
        place = module.tezzeret.served_by(module, args)
        if place is not None and any(cotangent is not None for cotangent in values.cotangents):
            found.setdefault(place, (case, values.inputs))
    return dict(sorted(found.items()))


def _highest(manifest: Manifest, variant: int) -> int:
    """The largest batch that a variant's guards let pass, 0 where no size moves."""
    extents = [extent for guard in manifest.guard_spec if guard.variant == variant for extent in guard.shape]
    return max((extent.max for extent in extents if isinstance(extent, Symbolic)), default=0)


def _wider(
    manifest: Manifest, variant: int, batch: int, inputs: Sequence[Tensor], times: Sequence[StepTimes]
) -> Iterator[tuple[int, Sequence[Tensor]]]:
    """Batches larger than ``batch`` up to what the guards allow, as long as the last of ``times``, which
    grows meanwhile, says that a step is quick."""
    highest = _highest(manifest, variant)
    while 0 < batch < highest and times and times[-1].batch == batch:
        wider = min(highest, batch * WIDER)
        slowest = max(times[-1].compiled_ms, times[-1].eager_ms)
        if slowest * wider / batch > LARGEST_STEP_MS:
            return
        inputs = at_batch(inputs, inputs[0].shape[0] * wider // batch)
        batch = wider
        yield batch, inputs


@dataclasses.dataclass(frozen=True)
class _Example:
    """What a step is taken with. ``gradients`` come in for the results and lie as these do, as from a layer
    that follows; what a sum sends would be one number, spread out."""

    case: Case
    inputs: Sequence[Tensor]
    gradients: Sequence[Tensor]


class _Race:
    """Steps of two modules in turns, until the budget is spent."""

    def __init__(self, compiled: BundleModule, eager: BundleModule) -> None:
        self._modules = (compiled, eager)
        self._device = compiled.tezzeret.program.device
        self._clock = clock(self._device)
        self._spent_by = self._clock() + BUDGET_S
        self._deadline = time.perf_counter() + BUDGET_S * PATIENCE

    def at(self, case: Case, inputs: Sequence[Tensor], batch: int, times: list[StepTimes]) -> None:
        """Add what steps on ``inputs`` take to ``times``, unless there is no time for that. Raises
        ``EagerUnavailableError``, and what the module raises."""
        if self._clock() > self._spent_by or time.perf_counter() > self._deadline:
            return
        example = self._example(case, inputs)
        for module in self._modules:
            self._row(module, example, 1)
        if reason := self._modules[1].tezzeret.eager_unavailable:
            raise EagerUnavailableError(reason)
        one_s = self._spent_on_pair(example, 1)
        length = max(1, min(LONGEST, int(ROW_S / one_s)))
        pair_s = self._spent_on_pair(example, length)
        count = max(FEWEST, min(MOST, int(SHARE_S / pair_s)))
        if self._clock() + count * pair_s > self._spent_by:
            return
        pairs = []
        for turn in range(count):
            if time.perf_counter() > self._deadline:
                return
            pairs.append(self._pair(example, length, turn))
            if len(pairs) % FEWEST == 0 and is_clear(pairs):
                break
        times.append(step_times(batch, pairs))

    def _spent_on_pair(self, example: _Example, length: int) -> float:
        """Seconds by the race's clock."""
        began = self._clock()
        for turn in range(2):
            self._pair(example, length, turn)
        return max(1e-6, (self._clock() - began) / 2)

    def _pair(self, example: _Example, length: int, turn: int) -> tuple[float, float]:
        """Each goes first every other time: threads of the one may still be awake in the step of the
        other."""
        compiled, eager = self._modules
        if turn % 2:
            theirs = self._row(eager, example, length)
            return self._row(compiled, example, length), theirs
        return self._row(compiled, example, length), self._row(eager, example, length)

    def _row(self, module: BundleModule, example: _Example, length: int) -> float:
        """Milliseconds of a call and of its backward, in the mean over so many."""
        calls = [self._arguments(example.case, example.inputs) for _ in range(length)]
        parameters = list(module.parameters())
        reference.wait_for(self._device)
        started = self._clock()
        for args in calls:
            for parameter in parameters:
                parameter.grad = None
            torch.autograd.backward(_trained(module(*args)), example.gradients)
        reference.wait_for(self._device)
        return (self._clock() - started) * 1e3 / length

    def _example(self, case: Case, inputs: Sequence[Tensor]) -> _Example:
        """What both modules, in the mode of ``case`` from here on, are given."""
        for module in self._modules:
            module.train(case.training)
        results = _trained(self._modules[1](*self._arguments(case, inputs)))
        return _Example(case, inputs, [torch.ones_like(result) for result in results])

    def _arguments(self, case: Case, inputs: Sequence[Tensor]) -> tuple[Any, ...]:
        return unflatten_arguments(case.arguments, fresh_inputs(inputs, self._device))


def _trained(output: Any) -> list[Tensor]:
    """What a gradient comes in for."""
    return [out for out in leaves(output) if out is not None and out.requires_grad]


def clock(device: torch.device) -> Callable[[], float]:
    """Seconds of this thread on a processor, which other work disturbs least, where all is done in it; else
    by the clock on the wall."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.thread_time if alone else time.perf_counter
