"""``tezzeret compile``: flags become options, the operation runs, its report is shown."""

from __future__ import annotations

from typing import Annotated

import typer

from tezzeret_cli.cli.flags import (
    Cache,
    IdentityToken,
    Json,
    OonaUrl,
    OutputFormat,
    Quiet,
    State,
    Store,
    Verbose,
)

EXAMPLES = """\b
Examples:
  tezzeret compile --store ./store
  tezzeret compile --store ./store --select 'BP02*' -j 2
  tezzeret compile my_descriptors/ --store ./store --profile profile.toml
  tezzeret compile --store ./store --shard 2/8
  tezzeret compile --store ./store --dry-run --explain

\b
Strategies, dearest first; what fails with one is tried with the next:
  aggressive  960 s, 16 GiB  everything that buys speed, matrix products tuned by measuring; has to be allowed
  standard    250 s,  8 GiB  all representative shapes, with libraries of their own where that pays
  fast         65 s,  4 GiB  the first representative shape and a dynamic batch, cheap optimisation
  emergency    10 s,  2 GiB  as fast, for the CPU whatever was asked for, in seconds
  auto                       one of these for each job, by tier, memory and history
"""

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PATH]...",
        help="Descriptor files, folders of them, or - for standard input. Default: the built-in catalogue.",
    ),
]


def _strategies() -> list[str]:
    from tezzeret_cli.strategies import STRATEGIES

    return [*STRATEGIES, "auto"]


def _tiers() -> list[str]:
    from tezzeret_cli.model.descriptor import Tier

    return [tier.lower().replace("_", "-") for tier in Tier]


def _devices() -> list[str]:
    return ["cpu", "cuda"]


def _signing() -> list[str]:
    from tezzeret_cli.model.manifest import Signing

    return [how.value for how in Signing]


def _levels() -> list[str]:
    from tezzeret_cli.isa import LEVELS

    return [level.name for level in LEVELS]


def compile_command(
    paths: Paths = None,
    store: Store = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How hard to compile: standard, fast, emergency, aggressive, or auto. [default: standard]",
            autocompletion=_strategies,
        ),
    ] = None,
    allow_aggressive: Annotated[
        bool | None, typer.Option("--allow-aggressive", help="Allow the aggressive strategy.")
    ] = None,
    conservative: Annotated[
        bool | None,
        typer.Option("--conservative", help="One job at a time, the fast strategy, longer timeouts."),
    ] = None,
    approve: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Approve blueprints that need it, by id or name; repeatable."),
    ] = None,
    approvals: Annotated[
        str | None, typer.Option(metavar="FILE", help="File (TOML) with the blueprints that are approved.")
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Only blueprints whose id or name matches; repeatable."),
    ] = None,
    tier: Annotated[
        str | None,
        typer.Option(metavar="TIER", help="Only blueprints of this tier.", autocompletion=_tiers),
    ] = None,
    stage: Annotated[int | None, typer.Option(metavar="N", help="Only blueprints of this stage.")] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="N/M", help="Only the Nth of M parts of the jobs, such as 2/8, for CI matrices."
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Value of a parameter, for all that have it or for one (BP023.layers=2); repeatable.",
        ),
    ] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="FILE", help="Compile profile (TOML): shapes, factories and more.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="cpu, cuda or cuda:N. [default: cpu]", autocompletion=_devices),
    ] = None,
    isa: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Instruction set of the libraries: avx512, avx2 or neon. [default: the best one here]",
            autocompletion=_levels,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", metavar="N", help="Jobs at once. [default: cores, as memory allows]"),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Time for one build. [default: the strategy's]")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory for one build. [default: the strategy's]")
    ] = None,
    cache: Cache = None,
    state: State = None,
    sign: Annotated[
        str | None,
        typer.Option(
            metavar="HOW", help="Sign by key, keyless, or none. [default: key]", autocompletion=_signing
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Private key to sign with. [default: $XDG_CONFIG_HOME/tezzeret/signing-key.pem]",
        ),
    ] = None,
    identity_token: IdentityToken = None,
    trust_config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Client trust configuration of a private Sigstore instance. [default: the public one]",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compile what is unchanged, too.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="First finish what a dead run on this store left.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; write nothing.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say what changed for each job.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Let quarantine-only blueprints count for the exit code.")
    ] = False,
    oona_url: OonaUrl = None,
    output_format: OutputFormat = None,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Compile blueprints into bundles; what is unchanged is skipped.

    Exit codes: 0 all done, 1 a job failed, 2 bad input, 3 done with eager fallbacks, 5 the store is locked
    or a run that died is to be resumed first, 6 a journal is damaged, 7 a journal could not be written,
    130 or 143 interrupted.
    """
    from tezzeret_cli.cli.compile_run import Flags, run
    from tezzeret_cli.cli.output import read_format

    flags = Flags(
        paths=tuple(paths or ()),
        settings={
            "store": store,
            "strategy": strategy,
            "allow_aggressive": allow_aggressive,
            "conservative": conservative,
            "approvals": approvals,
            "profile": profile,
            "device": device,
            "isa": isa,
            "jobs": jobs,
            "timeout_s": timeout,
            "memory": memory,
            "cache": cache,
            "state": state,
            "oona_url": oona_url,
            "sign": sign,
            "key": key,
        },
        identity_token=identity_token,
        trust_config=trust_config,
        select=tuple(select or ()),
        tier=tier,
        stage=stage,
        shard=shard,
        parameters=tuple(param or ()),
        approve=tuple(approve or ()),
        force=force,
        resume=resume,
        dry_run=dry_run,
        explain=explain,
        strict=strict,
        form=read_format(output_format, json=json_output),
        quiet=quiet,
        verbosity=verbose,
    )
    raise typer.Exit(run(flags))
