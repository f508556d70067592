"""What ``tezzeret compile`` does: wire the concrete parts together and run the operation."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tezzeret_cli.blueprints.registry import BUILTIN
from tezzeret_cli.blueprints.resolve import Resolver
from tezzeret_cli.cli.observers import make_observer
from tezzeret_cli.cli.signals import stopping
from tezzeret_cli.errors import InputError, SettingsError
from tezzeret_cli.inputs import Selection, read_descriptors, select
from tezzeret_cli.keys import HostFacts, host_facts, with_key
from tezzeret_cli.model.descriptor import Descriptor
from tezzeret_cli.model.events import Notice, Observer
from tezzeret_cli.model.job import BatchRange, Job
from tezzeret_cli.model.report import exit_code
from tezzeret_cli.ops.compile import CompileOptions, compile_blueprints
from tezzeret_cli.plan import Wishes, make_plan
from tezzeret_cli.profile import Profile, read_profile, unused_rules
from tezzeret_cli.settings import Settings, load_settings
from tezzeret_cli.store.layout import open_store, read_identity
from tezzeret_cli.strategies import STRATEGIES
from tezzeret_cli.worker.pool import WorkerPool

_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


class Flags(msgspec.Struct, frozen=True):
    """The command line as given. ``settings`` holds ``None`` for what was not given."""

    paths: tuple[str, ...]
    settings: Mapping[str, Any]
    select: tuple[str, ...]
    tier: str | None
    stage: int | None
    parameters: tuple[str, ...]
    force: bool
    dry_run: bool
    explain: bool
    strict: bool
    json: bool
    quiet: bool
    verbosity: int


def run(flags: Flags) -> int:
    """Compile as the flags say, show the report, and return the exit code. Raises ``TezzeretError``."""
    environment = dict(os.environ)
    settings = load_settings(environment, flags.settings)
    if settings.store is None:
        raise SettingsError("no store is given", advice="name one with --store DIR or TEZZERET_STORE")
    observer = make_observer(json=flags.json, quiet=flags.quiet, verbosity=flags.verbosity)
    facts = host_facts(environment, settings.isa)
    jobs = _jobs(flags, settings, facts, observer)
    root = Path(settings.store)
    if flags.dry_run:
        read_identity(root)
    options = CompileOptions(
        workers=settings.jobs,
        force=flags.force,
        explain=flags.explain,
        dry_run=flags.dry_run,
        proof_timeout_s=settings.proof_timeout_s,
        eager_timeout_s=settings.eager_timeout_s,
        repeat=settings.prewarm_repeat,
        cache=settings.cache,
    )
    with stopping() as stop, observer:
        report = compile_blueprints(
            jobs,
            root if flags.dry_run else open_store(root),
            facts,
            options,
            environment=environment,
            make_runner=WorkerPool,
            observer=observer,
            on_start=stop.watch,
        )
    if flags.json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        sys.stdout.flush()
    return stop.exit_code or exit_code(report, strict=flags.strict)


def _jobs(flags: Flags, settings: Settings, facts: HostFacts, observer: Observer) -> list[Job]:
    descriptors = select(
        read_descriptors(flags.paths, stdin=sys.stdin.buffer),
        Selection(flags.select, flags.tier, flags.stage),
    )
    profile = read_profile(Path(settings.profile)) if settings.profile else Profile()
    for match in unused_rules(profile, descriptors):
        observer.on_event(Notice("info", f"{settings.profile}: match {match!r} fits no selected blueprint"))
    wishes = Wishes(
        strategies=STRATEGIES,
        strategy=settings.strategy,
        device=settings.device,
        parameters=flags.parameters,
        timeout_s=settings.timeout_s,
        memory=settings.memory,
    )
    jobs = make_plan(descriptors, profile, wishes, Resolver().resolve, _default_batch)
    for job in jobs:
        if not _DEVICE.fullmatch(job.device):
            raise InputError(f"--device {job.device}: unknown device", advice="use cpu, cuda or cuda:N")
    return [with_key(job, facts) for job in jobs]


def _default_batch(descriptor: Descriptor) -> BatchRange:
    entry = BUILTIN.get(descriptor.name)
    return entry.batch if entry else BatchRange()
