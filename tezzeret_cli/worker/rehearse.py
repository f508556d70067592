"""The child's entry for ``verify --load``: a published bundle through the consumer's loader, beside eager.

It runs in a fresh process with an empty PATH and no compiler cache. What it opens is pinned to the manifest
that was verified.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import torch

from tezzeret_cli.blueprints.construct import construct
from tezzeret_cli.blueprints.resolve import Resolver
from tezzeret_cli.errors import GuardMissError, TezzeretError
from tezzeret_cli.model.build import ProofResult, RehearsalRequest
from tezzeret_cli.model.manifest import Manifest, Reason
from tezzeret_cli.runtime import BundleModule, load
from tezzeret_cli.trust import Pinned
from tezzeret_cli.worker import reference
from tezzeret_cli.worker.prove import Disagreement, measure
from tezzeret_cli.worker.reference import Case, Values
from tezzeret_cli.worker.subject import Subject, flatten_arguments

TOLERANCE = 1e-3
"""Of the largest magnitude; the proof before publication was stricter, on the machine that compiled."""

NO_REFERENCE = "no_reference"


def rehearse(payload: bytes, stage: Callable[[str], None]) -> bytes:
    """Serve one ``RehearsalRequest``; answers with a ``ProofResult``. A reason of kind ``no_reference`` says
    that the bundle loads, and why nothing could be compared."""
    request = msgspec.msgpack.decode(payload, type=RehearsalRequest)
    stage("load")
    try:
        result = _rehearse(request)
    except Disagreement as error:
        result = ProofResult(None, reason=Reason("wrong_numbers", str(error), deterministic=True))
    except GuardMissError as error:
        result = ProofResult(None, reason=Reason(NO_REFERENCE, f"its own example misses: {error}", True))
    except TezzeretError as error:
        result = ProofResult(None, reason=Reason("not_loadable", str(error), deterministic=False))
    return msgspec.msgpack.encode(result)


def _rehearse(request: RehearsalRequest) -> ProofResult:
    started = time.perf_counter()
    module = load(
        request.bundle, on_guard_miss="raise", prefer="compiled", trust=Pinned(request.manifest_sha256)
    )
    load_ms = (time.perf_counter() - started) * 1e3
    manifest = module.tezzeret.manifest
    if manifest.eager_fallback:
        return ProofResult(None)
    if reason := _unavailable(manifest):
        return ProofResult(None, reason=Reason(NO_REFERENCE, reason, deterministic=True))
    return measure(module, _cases(module, manifest), load_ms, request.repeat)


def _unavailable(manifest: Manifest) -> str | None:
    """Why the factory's module is not to be had here: only code that ships with Tezzeret is run."""
    if not manifest.factory.builtin:
        return f"the factory {manifest.factory.path} is not built in"
    if Resolver().resolve(manifest.descriptor).digest != manifest.factory.digest:
        return f"the factory {manifest.factory.path} has changed since"
    return None


def _cases(module: BundleModule, manifest: Manifest) -> list[tuple[Case, Values]]:
    """What eager computes from the bundle's own parameters for the factory's example, in each mode."""
    device = module.tezzeret.program.device
    eager, examples = construct(manifest.factory, manifest.parameters)
    subject = Subject.of(eager.to(device))
    mine = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    subject.restore({name: mine[name].detach() for name in subject.initial_state()})
    cases = []
    for training in dict.fromkeys(variant.training is not False for variant in manifest.variants):
        tree, tensors = flatten_arguments(examples[0], subject.names)
        tensors = [tensor.to(device) for tensor in tensors]
        torch.manual_seed(reference.SEED)
        values = reference.eager_step(subject, tree, tensors, training=training, device=device)
        strides = tuple(tuple(tensor.stride()) for tensor in values.inputs)
        cases.append((Case(training, tree, strides, len(values.outputs), TOLERANCE), values))
    return cases
