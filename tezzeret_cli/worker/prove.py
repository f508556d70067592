"""The child's entry for the proof: load a staged bundle as a consumer would, compare, and time it.

It runs in a process with an empty PATH, no compiler and no cache that has loaded nothing before: a fork of
one that only imported what a consumer imports. It uses the consumer's loader.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from tezzeret_cli.errors import TezzeretError
from tezzeret_cli.model.build import ProofRequest, ProofResult
from tezzeret_cli.model.manifest import Reason, Timing
from tezzeret_cli.quantiles import quantile
from tezzeret_cli.runtime import BundleModule, load
from tezzeret_cli.trust import UNVERIFIED
from tezzeret_cli.worker import reference
from tezzeret_cli.worker.beside_eager import beside_eager
from tezzeret_cli.worker.reference import Case, Values, leaves
from tezzeret_cli.worker.subject import fresh_inputs, unflatten_arguments

SMALL = 0.1
"""Magnitudes below this are compared as if they were this: what is left of larger terms that cancel
carries their rounding."""


class Disagreement(Exception):
    """The bundle does not compute what eager computes."""


def prove(payload: bytes, stage: Callable[[str], None]) -> bytes:
    """Serve one ``ProofRequest``; answers with a ``ProofResult``."""
    request = msgspec.msgpack.decode(payload, type=ProofRequest)
    stage("prove")
    try:
        result = _prove(request)
    except Disagreement as error:
        result = ProofResult(None, reason=Reason("wrong_numbers", str(error), deterministic=True))
    except TezzeretError as error:
        result = ProofResult(None, reason=Reason("not_loadable", str(error), deterministic=False))
    return msgspec.msgpack.encode(result)


def _prove(request: ProofRequest) -> ProofResult:
    started = time.perf_counter()
    # It is signed once it is proved.
    module = load(
        request.bundle, on_guard_miss="raise", prefer="compiled", quarantined=True, trust=UNVERIFIED
    )
    load_ms = (time.perf_counter() - started) * 1e3
    if module.tezzeret.manifest.eager_fallback:
        return ProofResult(None)
    device = reference.prepared(str(module.tezzeret.program.device))
    cases = reference.read(Path(request.reference), device)
    result = measure(module, cases, load_ms, request.repeat)
    if request.directory is not None:
        sys.path.append(request.directory)
    serving, notes = beside_eager(request.bundle, module, cases, Path(request.shared))
    return msgspec.structs.replace(result, serving=serving, notes=notes)


def measure(
    module: BundleModule, cases: Sequence[tuple[Case, Values]], load_ms: float, repeat: int
) -> ProofResult:
    """Every case through the bundle, compared with eager's values; then the time of ``repeat`` steps of the
    first. Raises ``Disagreement``."""
    state = {name: tensor.detach().clone() for name, tensor in _named(module)}
    first: tuple[float, float] | None = None
    for case, values in cases:
        times = _check(module, case, values, state)
        first = first or times
    samples = _steady(module, *cases[0], repeat=repeat)
    assert first is not None
    timing = Timing(
        load_ms=load_ms,
        first_forward_ms=first[0],
        first_backward_ms=first[1],
        p50_ms=statistics.median(samples),
        p95_ms=quantile(samples, 0.95),
        threads=torch.get_num_threads(),
    )
    return ProofResult(timing, samples=tuple(samples))


def _named(module: BundleModule) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _check(module: BundleModule, case: Case, values: Values, state: dict[str, Tensor]) -> tuple[float, float]:
    """One step from the initial state, compared with eager's; forward and backward milliseconds."""
    _restore(module, state)
    module.train(case.training)
    inputs = _inputs(values)
    torch.manual_seed(reference.SEED)
    args = unflatten_arguments(case.arguments, inputs)
    device = module.tezzeret.program.device
    reference.wait_for(device)
    started = time.perf_counter()
    outputs = tuple(leaves(module(*args)))
    reference.wait_for(device)
    forward_ms = (time.perf_counter() - started) * 1e3
    where = f"{'train' if case.training else 'eval'}, inputs {[tuple(t.shape) for t in values.inputs]}"
    _compare_all("output", outputs, values.outputs, case, where)
    loss = _loss(outputs, values)
    started = time.perf_counter()
    if loss is not None:
        loss.backward()
    reference.wait_for(device)
    backward_ms = (time.perf_counter() - started) * 1e3
    gradients = tuple(tensor.grad if tensor.requires_grad else None for tensor in inputs)
    for index, (have, want) in enumerate(zip(gradients, values.input_gradients, strict=True)):
        allowed = case.rounding.get(f"input_gradients/{index}", 0.0)
        _compare(f"gradient of input {index}", have, want, case, where, allowed)
    for name, tensor in _named(module):
        allowed = case.rounding.get(f"gradient/{name}", 0.0)
        _compare(f"gradient of {name}", tensor.grad, values.gradients.get(name), case, where, allowed)
        expected = values.state.get(name, state[name])
        _compare(f"value of {name}", tensor.detach(), expected, case, where)
    _check_inference(module, case, values, state, where)
    return forward_ms, backward_ms


def _check_inference(
    module: BundleModule, case: Case, values: Values, state: dict[str, Tensor], where: str
) -> None:
    """The same call without gradients, which may be served by a library of its own."""
    _restore(module, state)
    torch.manual_seed(reference.SEED)
    with torch.no_grad():
        outputs = tuple(leaves(module(*unflatten_arguments(case.arguments, _inputs(values)))))
    where = f"{where}, without gradients"
    _compare_all("output", outputs, values.outputs, case, where)
    for name, tensor in _named(module):
        expected = values.state.get(name, state[name])
        _compare(f"value of {name}", tensor.detach(), expected, case, where)


def _inputs(values: Values) -> list[Tensor]:
    inputs = fresh_inputs(values.inputs, values.inputs[0].device) if values.inputs else []
    for tensor in inputs:
        if tensor.requires_grad:
            tensor.retain_grad()
    return inputs


def _loss(outputs: tuple[Tensor | None, ...], values: Values) -> Tensor | None:
    for index, (out, cotangent) in enumerate(zip(outputs, values.cotangents, strict=True)):
        if (has := reference.differentiable(out)) != (cotangent is not None):
            mine, theirs = ("a gradient", "none") if has else ("no gradient", "one")
            raise Disagreement(f"output {index} has {mine}, where eager's has {theirs}")
    return reference.scalar_loss(outputs, values.cotangents)


def _restore(module: BundleModule, state: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in _named(module):
            tensor.copy_(state[name])
            tensor.grad = None


def _steady(module: BundleModule, case: Case, values: Values, *, repeat: int) -> list[float]:
    """Milliseconds of ``repeat`` training steps after the first ones."""
    module.train(case.training)
    device = module.tezzeret.program.device
    samples = []
    for _ in range(repeat):
        inputs = _inputs(values)
        args = unflatten_arguments(case.arguments, inputs)
        reference.wait_for(device)
        started = time.perf_counter()
        loss = _loss(tuple(leaves(module(*args))), values)
        if loss is not None:
            loss.backward()
        reference.wait_for(device)
        samples.append((time.perf_counter() - started) * 1e3)
    return samples


def _compare_all(
    what: str,
    found: tuple[Tensor | None, ...],
    expected: tuple[Tensor | None, ...],
    case: Case,
    where: str,
) -> None:
    if len(found) != len(expected):
        raise Disagreement(f"{len(found)} values of kind {what} instead of {len(expected)} ({where})")
    for index, (have, want) in enumerate(zip(found, expected, strict=True)):
        _compare(f"{what} {index}", have, want, case, where)


def _compare(
    what: str,
    found: Tensor | None,
    expected: Tensor | None,
    case: Case,
    where: str,
    rounding: float = 0.0,
) -> None:
    """Raise ``Disagreement`` unless equal up to the case's tolerance of the largest magnitude expected, or up
    to ``rounding``."""
    if found is None or expected is None:
        if found is not expected:
            raise Disagreement(f"{what} is {'missing' if found is None else 'there unexpectedly'} ({where})")
        return
    if found.shape != expected.shape or found.dtype != expected.dtype:
        have, want = (f"{t.dtype} {tuple(t.shape)}" for t in (found, expected))
        raise Disagreement(f"{what} is {have} instead of {want} ({where})")
    if not expected.is_floating_point() and not expected.is_complex():
        if not torch.equal(found, expected):
            raise Disagreement(f"{what} differs ({where})")
        return
    wide = torch.complex128 if expected.is_complex() else torch.float64
    mine, theirs = found.detach().to(wide), expected.to(wide)
    finite = theirs.isfinite()
    if not torch.equal(mine[~finite].nan_to_num(0.5), theirs[~finite].nan_to_num(0.5)):
        raise Disagreement(f"{what} has NaN or infinity in other places ({where})")
    scale = float(theirs[finite].abs().max()) if finite.any() else 0.0
    error = float((mine[finite] - theirs[finite]).abs().max()) if finite.any() else 0.0
    if not error <= max(case.tolerance * max(scale, SMALL), rounding):
        raise Disagreement(f"{what} is off by {error:.3g} where the largest value is {scale:.3g} ({where})")
