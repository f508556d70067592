"""Load a bundle: verify, open, and hand over an ``nn.Module``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from tezzeret_cli import isa
from tezzeret_cli.bundle.read import MANIFEST, inflate, read_files
from tezzeret_cli.bundle.target import mismatch
from tezzeret_cli.bundle.use import in_use
from tezzeret_cli.errors import QuarantinedError, TargetMismatchError
from tezzeret_cli.model.manifest import Graph, Manifest
from tezzeret_cli.runtime import private
from tezzeret_cli.runtime.eager import BUILTIN_FACTORIES
from tezzeret_cli.runtime.find import compute_capability
from tezzeret_cli.runtime.library import Libraries
from tezzeret_cli.runtime.module import BundleModule, OnGuardMiss, Prefer, Program
from tezzeret_cli.runtime.serving import eager_here
from tezzeret_cli.runtime.tensors import tensors_in
from tezzeret_cli.runtime.variant import RunnableVariant
from tezzeret_cli.trust import ecdsa
from tezzeret_cli.trust.policy import Policy
from tezzeret_cli.trust.trusted import trusted_keys
from tezzeret_cli.trust.verify import read_origin

TENSORS = "tensors.safetensors"

OLDEST_TORCH = (2, 11)
"""Libraries made with any supported release run under every other one from here on."""

_LIBRARIES = Libraries()
ecdsa.self_test()
isa.cpu_flags()  # kept: the kernel takes as long to write them down as a signature takes to verify
# With the first product of a process oneDNN and MKL ask what the processor is: 0.4 ms in a virtual machine.
torch.mm(*[torch.zeros(1, 1, device="cpu")] * 2)


def load(
    path: str | os.PathLike[str],
    *,
    device: str | torch.device | None = None,
    on_guard_miss: OnGuardMiss = "eager",
    allow_factories: Sequence[str] = BUILTIN_FACTORIES,
    prefer: Prefer = "faster",
    quarantined: bool = False,
    trust: Policy | None = None,
) -> BundleModule:
    """Load the bundle in the directory ``path`` (or at its ``manifest.json``).

    ``device`` chooses among several GPUs; by default the current one of the kind the bundle was built
    for. ``on_guard_miss="raise"`` raises ``GuardMissError`` where a call would run eager. Eager code
    runs only for factories (``package.module.function``) that match a pattern of ``allow_factories``.
    A bundle in quarantine needs ``quarantined=True``.

    ``prefer`` is about calls inside the guards: ``"faster"`` serves a training step as the bundle says is
    faster for its batch, compiled or eager; ``"compiled"`` always the compiled code; ``"eager"`` always
    eager. Where eager is preferred and cannot run (see ``allow_factories``), the compiled code serves the
    call.

    ``trust`` decides whose signature is believed (``tezzeret_cli.trust``); by default that of the keys in
    this user's ``trusted-keys.d``. ``trust=UNVERIFIED`` opens what anybody made.

    Raises ``UntrustedBundleError`` when the signature is not believed; ``QuarantinedError``;
    ``DamagedBundleError`` when a file is not what the manifest says; ``TargetMismatchError`` when this
    machine or torch cannot run it. Nothing is unpickled, no library is opened before all files are verified,
    and what is opened are the bytes that were hashed. The first variant's libraries (training, the first
    representative shapes) are opened here, another one's with its first call.
    """
    bundle = Path(path)
    if bundle.name == MANIFEST:
        bundle = bundle.parent
    with in_use(bundle):
        manifest = read_origin(bundle, trusted_keys() if trust is None else trust).manifest
        if manifest.quarantine and not quarantined:
            raise QuarantinedError(
                f"{manifest.blueprint_id} {manifest.version} is in quarantine: {manifest.quarantine}",
                advice="load it with quarantined=True if that is what you want",
            )
        where = _device(manifest, device)
        files = read_files(bundle, manifest, writable=(TENSORS,))
    entries = {entry.path: entry for entry in manifest.files}
    tensors = tensors_in(_writable(inflate(entries[TENSORS], files.pop(TENSORS))))

    def open_library(graph: Graph) -> private.Run:
        entry = entries[graph.library]
        name = f"{manifest.blueprint_id}:{graph.library}"
        return _LIBRARIES.open(
            name, entry.sha256, graph.entry, lambda: inflate(entry, files[graph.library]), where
        )

    variants = [
        RunnableVariant(
            variant,
            [guard for guard in manifest.guard_spec if guard.variant == number],
            where,
            open_library,
            eager_here(manifest, number, where),
        )
        for number, variant in enumerate(manifest.variants)
    ]
    for variant in variants[:1]:
        variant.open()
    program = Program(manifest, variants, where, on_guard_miss, allow_factories, prefer)
    return BundleModule(program, tensors)


def _writable(data: bytes | memoryview) -> memoryview:
    """What was inflated is copied, since nothing may write to ``bytes``."""
    return memoryview(bytearray(data)) if isinstance(data, bytes) else data


def _device(manifest: Manifest, wanted: str | torch.device | None) -> torch.device:
    target = manifest.target
    reason = None if manifest.eager_fallback else mismatch(target)
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < OLDEST_TORCH:
        reason = f"torch {torch.__version__} is older than 2.11"
    device = torch.device(wanted) if wanted is not None else torch.device(target.device)
    if device.type != target.device and not manifest.eager_fallback:
        reason = f"it is built for {target.device}, not for {device.type}"
    if device.type == "cuda" and reason is None:
        if not torch.cuda.is_available():
            reason = "it needs a CUDA device, and torch sees none"
        else:
            device = torch.device(
                "cuda", torch.cuda.current_device() if device.index is None else device.index
            )
            have = compute_capability(device)
            if target.capability not in (None, have):
                reason = f"it is built for compute capability {target.capability}, {device} has {have}"
    if reason:
        raise TargetMismatchError(f"{manifest.blueprint_id} {manifest.version} cannot run here: {reason}")
    return device
