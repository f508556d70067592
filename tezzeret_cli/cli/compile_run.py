"""What ``tezzeret compile`` does: wire the concrete parts together and run the operation."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

import tezzeret_cli
from tezzeret_cli.approvals import missing, read_approvals
from tezzeret_cli.blueprints.registry import BUILTIN
from tezzeret_cli.blueprints.resolve import Resolver
from tezzeret_cli.cli.breakers import breaker_rules
from tezzeret_cli.cli.observers import make_observer, with_telemetry
from tezzeret_cli.cli.output import CommandFlags, write_report
from tezzeret_cli.cli.resume_run import finish_dead, worst
from tezzeret_cli.cli.signals import Stop, stopping
from tezzeret_cli.cli.signing import make_doubts, make_signer, signing_options
from tezzeret_cli.cli.values import parse_shard
from tezzeret_cli.errors import ExitCode, InputError, Interrupted
from tezzeret_cli.host.gpu import capabilities
from tezzeret_cli.host.memory import read_memory
from tezzeret_cli.inputs import Selection, read_descriptors, select
from tezzeret_cli.keys import host_facts, with_key
from tezzeret_cli.model.descriptor import Descriptor
from tezzeret_cli.model.events import Notice, Observer
from tezzeret_cli.model.job import BatchRange, Job, Strategy
from tezzeret_cli.model.report import Report
from tezzeret_cli.model.run import CompileOptions, RunPlan
from tezzeret_cli.ops.compile import compile_blueprints, plan_only
from tezzeret_cli.ops.execute import Forge
from tezzeret_cli.ops.unfinished import tidy
from tezzeret_cli.plan import Wishes, in_shard, make_plan
from tezzeret_cli.profile import Profile, read_profile, unused_rules
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.settings import Settings, load_settings, store_of
from tezzeret_cli.store.catalogue import Catalogue
from tezzeret_cli.store.layout import open_store, read_identity
from tezzeret_cli.strategies import AUTO, configured
from tezzeret_cli.strategies.choose import choose
from tezzeret_cli.telemetry.outcomes import run_suite
from tezzeret_cli.worker.pool import WorkerPool

_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


class Flags(CommandFlags, frozen=True, kw_only=True):
    """The command line as given."""

    paths: tuple[str, ...]
    identity_token: str | None
    trust_config: str | None
    select: tuple[str, ...]
    tier: str | None
    stage: int | None
    shard: str | None
    parameters: tuple[str, ...]
    approve: tuple[str, ...]
    force: bool
    resume: bool
    dry_run: bool
    explain: bool
    strict: bool


def run(flags: Flags) -> int:
    """Compile as the flags say, show the report, and return the exit code. Raises ``TezzeretError``."""
    environment = dict(os.environ)
    settings = load_settings(environment, flags.settings)
    root = Path(store_of(settings))
    shard = parse_shard(flags.shard, "--shard") if flags.shard is not None else None
    observer = make_observer(flags)
    planned = _jobs(flags, settings, observer)
    if shard is not None:
        planned = in_shard(planned, shard)
    facts = host_facts(environment, settings.isa, capabilities(planned))
    jobs = [with_key(job, facts) for job in planned]
    identity = read_identity(root)
    plan = RunPlan(
        command="compile",
        tool=tezzeret_cli.__version__,
        store_id=identity.store_id if identity else "",
        store=str(root),
        directory=os.getcwd(),
        facts=facts,
        options=CompileOptions(
            workers=settings.jobs,
            force=flags.force,
            proof_timeout_s=settings.proof_timeout_s,
            eager_timeout_s=settings.eager_timeout_s,
            repeat=settings.prewarm_repeat,
            cache=settings.cache,
            ladder=tuple(strategies(settings).values()),
            conservative=settings.conservative,
            breakers=breaker_rules(settings),
            signing=signing_options(settings, environment, flags.trust_config, flags.identity_token),
        ),
        jobs=tuple(jobs),
        strict=flags.strict,
        created=time.time(),
        skipped=_skipped(jobs, flags, settings),
        shard=shard,
    )
    resumed: list[tuple[Report, bool]] = []
    with stopping() as stop, observer:
        if flags.dry_run:
            doubts = make_doubts(plan.options.signing, environment)
            report = plan_only(plan, root, doubts, observer, explained=flags.explain)
        else:
            report = _compile(flags, settings, plan, environment, observer, stop, resumed)
    all_of_them = [*resumed, (report, flags.strict)]
    write_report(flags.form, report, [run_suite(done, strict=strict) for done, strict in all_of_them])
    return stop.exit_code or worst(all_of_them)


def _compile(
    flags: Flags,
    settings: Settings,
    plan: RunPlan,
    environment: Mapping[str, str],
    observer: Observer,
    stop: Stop,
    resumed: list[tuple[Report, bool]],
) -> Report:
    """Compile; the reports of the runs that were finished first go into ``resumed``."""
    signer = make_signer(plan.options.signing, environment, flags.identity_token)
    if not Path(plan.store).exists():
        signer.ready()
    store = open_store(Path(plan.store))
    observer = with_telemetry(observer, store.root, settings)
    plan = msgspec.structs.replace(plan, store_id=store.identity.store_id)
    runs = Runs(Path(settings.state), plan.store_id, on_network=settings.state_on_network)
    tidy(runs, settings.run_ttl_s, observer, store.root)
    if flags.resume:
        resumed += finish_dead(
            store, runs, runs.unfinished(), environment, observer, stop, token=flags.identity_token
        )
        if stop.exit_code:
            raise Interrupted("interrupted", ExitCode(stop.exit_code), advice="the run can be resumed")
    forge = Forge(store, runs, environment, WorkerPool, observer, stop.watch, signer)
    return compile_blueprints(plan, forge, explained=flags.explain)


def _jobs(flags: Flags, settings: Settings, observer: Observer) -> Sequence[Job]:
    descriptors = select(
        read_descriptors(flags.paths, stdin=sys.stdin.buffer),
        Selection(flags.select, flags.tier, flags.stage),
    )
    profile = read_profile(Path(settings.profile)) if settings.profile else Profile()
    for match in unused_rules(profile, descriptors):
        observer.on_event(Notice("info", f"{settings.profile}: match {match!r} fits no selected blueprint"))
    known = strategies(settings)
    wishes = Wishes(
        strategies=known | {AUTO: msgspec.structs.replace(known["standard"], name=AUTO)},
        strategy=settings.strategy,
        device=settings.device,
        parameters=flags.parameters,
        timeout_s=settings.timeout_s,
        memory=settings.memory,
    )
    jobs = make_plan(descriptors, profile, wishes, Resolver().resolve, _default_batch)
    if any(job.strategy.name == AUTO for job in jobs):
        jobs = _chosen(jobs, known, settings)
    for job in jobs:
        if job.strategy.opt_in and not settings.allow_aggressive:
            raise InputError(
                f"--strategy {job.strategy.name}: not allowed for {job.blueprint_id}",
                advice="add --allow-aggressive",
            )
        if not _DEVICE.fullmatch(job.device):
            raise InputError(f"--device {job.device}: unknown device", advice="use cpu, cuda or cuda:N")
    return jobs


def _chosen(jobs: Sequence[Job], known: Mapping[str, Strategy], settings: Settings) -> tuple[Job, ...]:
    """``jobs`` with a strategy chosen for each that leaves it to us."""
    catalogue = Catalogue(Path(store_of(settings)), {job.blueprint_id for job in jobs})
    free = read_memory().available
    made = []
    for job in jobs:
        if job.strategy.name == AUTO:
            earlier = catalogue.newest(job.blueprint_id)
            strategy, reason = choose(job, known, earlier, free, allow_aggressive=settings.allow_aggressive)
            job = msgspec.structs.replace(job, strategy=strategy, strategy_reason=reason)
        made.append(job)
    return tuple(made)


def _skipped(jobs: Sequence[Job], flags: Flags, settings: Settings) -> dict[int, str]:
    """Why jobs are left out, by number: they lack approval."""
    approved = [*flags.approve, *(read_approvals(Path(settings.approvals)) if settings.approvals else ())]
    reasons = {number: missing(job.descriptor, approved) for number, job in enumerate(jobs)}
    return {number: reason for number, reason in reasons.items() if reason is not None}


def strategies(settings: Settings) -> dict[str, Strategy]:
    """The strategies with the budgets of the settings."""
    return configured(
        {
            "aggressive": settings.aggressive_timeout_s,
            "standard": settings.standard_timeout_s,
            "fast": settings.fast_timeout_s,
            "emergency": settings.emergency_timeout_s,
        },
        {
            "aggressive": settings.aggressive_memory,
            "standard": settings.standard_memory,
            "fast": settings.fast_memory,
            "emergency": settings.emergency_memory,
        },
    )


def _default_batch(descriptor: Descriptor) -> BatchRange:
    entry = BUILTIN.get(descriptor.name)
    return entry.batch if entry else BatchRange()
