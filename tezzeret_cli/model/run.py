"""A run as it was asked for: everything that another process needs to finish it."""

from __future__ import annotations

import msgspec

from tezzeret_cli.model.job import Job


class HostFacts(msgspec.Struct, frozen=True):
    """What this machine contributes to a key: versions and the target, no paths."""

    torch: str
    compiler: str
    target: str
    isa: str


class CompileOptions(msgspec.Struct, frozen=True):
    """``workers`` 0 lets cores and memory decide. ``force`` compiles what is already done. Times in
    seconds; ``repeat`` counts the timed steps of a proof; ``cache`` is a folder."""

    workers: int = 0
    force: bool = False
    proof_timeout_s: float = 120.0
    eager_timeout_s: float = 30.0
    repeat: int = 20
    cache: str = ""


class RunPlan(msgspec.Struct, frozen=True):
    """What one run does. ``jobs`` are all of them, in order; ``directory`` is where it was started, for
    modules that are found there; ``strict`` belongs to its exit code. ``created`` is seconds since 1970."""

    command: str
    tool: str
    store_id: str
    store: str
    directory: str
    facts: HostFacts
    options: CompileOptions
    jobs: tuple[Job, ...]
    strict: bool = False
    created: float = 0.0
