"""The child's entry of ``prewarm``: load a published bundle as a consumer does and time every variant.

It runs in a fresh process without a compiler. The bundle goes first, so that its first call is the first of
the process; eager follows on the same inputs.
"""

from __future__ import annotations

import fnmatch
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from tezzeret_cli.blueprints.construct import construct
from tezzeret_cli.blueprints.resolve import Resolver
from tezzeret_cli.errors import QuarantinedError, TezzeretError, UntrustedBundleError, VerificationError
from tezzeret_cli.model.manifest import Extent, GuardKind, Manifest, Symbolic, TensorGuard, Variant
from tezzeret_cli.model.prewarm import PrewarmRequest, PrewarmResult, Sample, VariantTimes
from tezzeret_cli.quantiles import quantile
from tezzeret_cli.runtime import load
from tezzeret_cli.trust.choice import policy_of
from tezzeret_cli.worker.reference import leaves, wait_for
from tezzeret_cli.worker.subject import flatten_arguments, fresh_inputs, unflatten_arguments

BATCH = 8
"""The size of a dynamic dimension where no example tells one; the guards' range goes before it."""


def prewarm(payload: bytes, stage: Callable[[str], None]) -> bytes:
    """Serve one ``PrewarmRequest``; answers with a ``PrewarmResult``."""
    request = msgspec.msgpack.decode(payload, type=PrewarmRequest)
    stage("prewarm")
    try:
        result = _prewarm(request)
    except QuarantinedError as error:
        result = PrewarmResult(quarantine=True, problem=error.message)
    except VerificationError as error:
        refused = "untrusted" if isinstance(error, UntrustedBundleError) else "damaged"
        result = PrewarmResult(problem=str(error), refused=refused)
    except TezzeretError as error:
        result = PrewarmResult(problem=str(error))
    return msgspec.msgpack.encode(result)


def _prewarm(request: PrewarmRequest) -> PrewarmResult:
    started = time.perf_counter()
    trust = policy_of(request.trust)
    module = load(
        request.bundle, device=request.device, on_guard_miss="raise", prefer="compiled", trust=trust
    )
    load_ms = (time.perf_counter() - started) * 1e3
    manifest = module.tezzeret.manifest
    if manifest.eager_fallback:
        return PrewarmResult(fallback=True)
    device = module.tezzeret.program.device
    inputs = [_inputs(manifest, number, ()) for number in range(len(manifest.variants))]
    first = [
        _first(module, variant, tensors, device)
        for variant, tensors in zip(manifest.variants, inputs, strict=True)
    ]
    eager, calls, why = _eager(manifest, request.allowed, device)
    found = []
    for number, variant in enumerate(manifest.variants):
        tensors = _inputs(manifest, number, calls) if calls else inputs[number]
        samples = _steady(module, variant, tensors, device, request.repeat)
        times = VariantTimes(
            variant.name,
            round(first[number], 6),
            tuple(samples),
            statistics.median(samples),
            quantile(samples, 0.95),
        )
        found.append(
            times if eager is None else _beside(times, eager, variant, tensors, device, request.repeat)
        )
    return PrewarmResult(
        Sample(
            when=time.time(),
            host=_host(device),
            torch=str(torch.__version__),
            threads=torch.get_num_threads(),
            device=device.type,
            load_ms=round(load_ms, 6),
            variants=tuple(msgspec.structs.replace(times, why=why) for times in found),
        )
    )


def _beside(
    times: VariantTimes,
    eager: nn.Module,
    variant: Variant,
    tensors: list[Tensor],
    device: torch.device,
    repeat: int,
) -> VariantTimes:
    first = _first(eager, variant, tensors, device)
    samples = _steady(eager, variant, tensors, device, repeat)
    return msgspec.structs.replace(
        times,
        eager_first_ms=round(first, 6),
        eager_p50_ms=statistics.median(samples),
        eager_p95_ms=quantile(samples, 0.95),
    )


def _first(module: nn.Module, variant: Variant, tensors: list[Tensor], device: torch.device) -> float:
    module.train(variant.training is not False)
    return _step(module, variant, tensors, device)


def _steady(
    module: nn.Module, variant: Variant, tensors: list[Tensor], device: torch.device, repeat: int
) -> list[float]:
    module.train(variant.training is not False)
    return [round(_step(module, variant, tensors, device), 6) for _ in range(repeat)]


def _step(module: nn.Module, variant: Variant, tensors: list[Tensor], device: torch.device) -> float:
    """Milliseconds of one call, and of the backward pass where an output has a gradient."""
    args: tuple[Any, ...] = unflatten_arguments(variant.arguments, fresh_inputs(tensors, device))
    wait_for(device)
    started = time.perf_counter()
    outputs = [out for out in leaves(module(*args)) if out is not None and out.requires_grad]
    if outputs:
        terms = [out.abs().sum() if out.is_complex() else out.sum() for out in outputs]
        sum(terms[1:], terms[0]).backward()
    wait_for(device)
    taken = (time.perf_counter() - started) * 1e3
    module.zero_grad(set_to_none=True)
    return taken


def _eager(
    manifest: Manifest, allowed: Sequence[str], device: torch.device
) -> tuple[nn.Module | None, list[list[Tensor]], str | None]:
    """The eager module with the tensors of its example calls, or why it cannot be had."""
    factory = manifest.factory
    name = factory.path.replace(":", ".")
    if not any(fnmatch.fnmatchcase(name, pattern) for pattern in allowed):
        return None, [], f"the factory {factory.path} is not allowed to run"
    try:
        found = Resolver().resolve(manifest.descriptor, None if factory.builtin else factory.path)
        if found.digest != factory.digest:
            return None, [], f"the factory {factory.path} here is not what the bundle was made from"
        module, calls = construct(factory, manifest.parameters)
    except TezzeretError as error:
        return None, [], str(error)
    dtypes = {tensor.dtype for tensor in module.parameters()}
    wanted = {getattr(torch, g.dtype) for g in manifest.guard_spec if g.kind is GuardKind.PARAMETER}
    if len(wanted) == 1 and wanted != dtypes:
        module = module.to(wanted.pop())
    return module.to(device), [flatten_arguments(call, ())[1] for call in calls], None


def _inputs(manifest: Manifest, number: int, calls: Sequence[list[Tensor]]) -> list[Tensor]:
    """Tensors that variant ``number`` serves: an example's where one fits, else made from the guards. Whole
    numbers are then zeros, which are in range wherever they are indices."""
    guards = [g for g in manifest.guard_spec if g.variant == number and g.kind is GuardKind.INPUT]
    guards.sort(key=lambda guard: guard.index)
    for call in calls:
        if len(call) == len(guards) and all(map(_fits, guards, call)):
            return [tensor.to(_dtype(guard)) for guard, tensor in zip(guards, call, strict=True)]
    return [_made(guard) for guard in guards]


def _fits(guard: TensorGuard, tensor: Tensor) -> bool:
    if tensor.is_floating_point() != _dtype(guard).is_floating_point or tensor.dim() != len(guard.shape):
        return False
    if not tensor.is_floating_point() and tensor.dtype != _dtype(guard):
        return False
    sizes = zip(guard.shape, tensor.shape, strict=True)
    strides = zip(guard.stride, tensor.stride(), strict=True)
    return all(_admits(extent, size) for extent, size in sizes) and all(
        not isinstance(extent, int) or extent == stride for extent, stride in strides
    )


def _admits(extent: Extent, size: int) -> bool:
    if isinstance(extent, int):
        return extent == size
    return size % extent.factor == 0 and extent.min <= size // extent.factor <= extent.max


def _made(guard: TensorGuard) -> Tensor:
    symbols = {
        extent.symbols[0]: max(extent.min, min(extent.max, BATCH))
        for extent in guard.shape
        if isinstance(extent, Symbolic) and len(extent.symbols) == 1
    }
    shape = [_extent(extent, symbols) for extent in guard.shape]
    stride = [_extent(extent, symbols) for extent in guard.stride]
    dtype = _dtype(guard)
    tensor = torch.empty_strided(shape, stride, dtype=dtype).zero_()
    if dtype.is_floating_point or dtype.is_complex:
        tensor.copy_(torch.randn(shape, dtype=dtype))
    return tensor


def _extent(extent: Extent, symbols: dict[str, int]) -> int:
    if isinstance(extent, int):
        return extent
    return extent.factor * math.prod(symbols.get(name, BATCH) for name in extent.symbols)


def _dtype(guard: TensorGuard) -> torch.dtype:
    found = getattr(torch, guard.dtype.removeprefix("torch."))
    assert isinstance(found, torch.dtype)
    return found


def _host(device: torch.device) -> str:
    """What timings on this machine can be compared by."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "CPU part")):
                return line.partition(":")[2].strip()
    except OSError:
        return "unknown"
    return "unknown"
