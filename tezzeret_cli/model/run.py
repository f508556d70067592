"""A run as it was asked for: everything that another process needs to finish it."""

from __future__ import annotations

import msgspec

from tezzeret_cli.model.health import BreakerRule
from tezzeret_cli.model.job import Job, Strategy
from tezzeret_cli.model.manifest import Signing


class HostFacts(msgspec.Struct, frozen=True):
    """What this machine contributes to a key: versions and the target, no paths. ``gpus`` are the compute
    capabilities of its GPUs, where a job is for one."""

    torch: str
    compiler: str
    target: str
    isa: str
    gpus: str = ""


class SigningOptions(msgspec.Struct, frozen=True):
    """How the bundles of a run are signed. ``key`` is the file of the private key, ``trust_config`` that of a
    private Sigstore instance. Runs on record from before there were signatures have ``none``."""

    how: Signing = Signing.NONE
    key: str = ""
    trust_config: str | None = None


class CompileOptions(msgspec.Struct, frozen=True):
    """``workers`` 0 lets cores and memory decide. ``force`` compiles what is already done. Times in
    seconds; ``repeat`` counts the timed steps of a proof; ``cache`` is a folder. ``ladder`` are the
    strategies with their budgets, dearest first. ``conservative`` asks for that mode from the start."""

    workers: int = 0
    force: bool = False
    proof_timeout_s: float = 120.0
    eager_timeout_s: float = 30.0
    repeat: int = 20
    cache: str = ""
    ladder: tuple[Strategy, ...] = ()
    conservative: bool = False
    breakers: tuple[BreakerRule, ...] = ()
    signing: SigningOptions = SigningOptions()


class Shard(msgspec.Struct, frozen=True):
    """Part ``number`` of the jobs, from 1 on, where there are ``of`` parts."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class RunPlan(msgspec.Struct, frozen=True):
    """What one run does. ``jobs`` are all of them, in order; ``directory`` is where it was started, for
    modules that are found there; ``strict`` belongs to its exit code. ``created`` is seconds since 1970.
    ``skipped`` gives, by number, why a job is not to be done. Where there is a ``shard``, only its jobs are
    there."""

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
    skipped: dict[int, str] = {}
    shard: Shard | None = None
