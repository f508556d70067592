"""What crosses the process boundary between the forge and its workers (msgpack frames, no pickle)."""

from __future__ import annotations

import msgspec

from tezzeret_cli.model.job import Job
from tezzeret_cli.model.manifest import Reason, Serving, Target, TensorGuard, TensorSlot, Timing, Variant

NO_ROOM = "no_room"
"""The kind of a reason that is the disk's: it says nothing of the module."""


class BuildRequest(msgspec.Struct, frozen=True):
    """Compile ``job`` and leave the payload in the existing, empty directory ``staging``.

    ``scratch`` is a private directory for the compiler and for the reference values of the proof; it
    is not published. ``shared`` is the directory of what builds have in common, such as precompiled
    headers. ``isa`` names the instruction-set level of the libraries. ``compile`` false asks
    only for what an eager fallback bundle needs (initial tensors, and evidence that eager itself runs
    forward and backward). ``gpu_share`` is the part of a GPU's memory that it may have.
    """

    job: Job
    staging: str
    scratch: str
    shared: str
    isa: str
    compile: bool = True
    gpu_share: float = 1.0


class BuildResult(msgspec.Struct, frozen=True, tag="built"):
    """What the build made. ``reason`` is set when it ends as a fallback (eager itself ran).

    ``quarantine`` says why it must not be used unasked; ``compiler_ms`` is processor time of compilers.
    ``payload`` are the files in the staging directory, relative; the forge adds the manifest.
    """

    payload: tuple[str, ...]
    slots: tuple[TensorSlot, ...]
    modules: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()
    guard_spec: tuple[TensorGuard, ...] = ()
    guard_spec_summary: tuple[str, ...] = ()
    target: Target | None = None
    torch: str = ""
    reason: Reason | None = None
    notes: tuple[str, ...] = ()
    quarantine: str | None = None
    compiler_ms: float = 0.0
    stages_ms: dict[str, float] = {}


class BuildRefused(msgspec.Struct, frozen=True, tag="refused"):
    """Neither compiled nor eager: the factory raised, or eager itself does not run. No bundle."""

    reason: Reason


class ProofRequest(msgspec.Struct, frozen=True):
    """Load the staged bundle as a consumer would, compare with the reference values, and time it.

    Once it is proved, eager's module is made to be timed beside it, from a factory that may be in
    ``directory``, where the run was started. Proofs that do so on a GPU take turns, by a lock in ``shared``.
    """

    bundle: str
    reference: str
    shared: str
    repeat: int = 20
    directory: str | None = None


class RehearsalRequest(msgspec.Struct, frozen=True):
    """Load the published bundle whose manifest has this sha256 as a consumer would, and compare it with its
    own factory's module where that is built in and unchanged."""

    bundle: str
    manifest_sha256: str
    repeat: int = 3


class ProofResult(msgspec.Struct, frozen=True, tag="proved"):
    """``reason`` is ``None`` when every variant agreed with eager, forward and backward. ``notes`` say why
    steps were not compared with eager's, where they were not."""

    timing: Timing | None
    samples: tuple[float, ...] = ()
    reason: Reason | None = None
    serving: tuple[Serving, ...] = ()
    notes: tuple[str, ...] = ()


WorkerReply = BuildResult | BuildRefused | ProofResult
