"""``tezzeret gc``: remove what nobody uses any more."""

from __future__ import annotations

from typing import Annotated

import typer

from tezzeret_cli.cli.flags import Cache, Json, OonaUrl, Quiet, State, Store, Verbose

EXAMPLES = """\b
Examples:
  tezzeret gc --store ./store --ttl 30d --dry-run
  tezzeret gc --store ./store --ttl 30d --keep 2 --pin 'BP02*'
  tezzeret gc --store ./store --max-size 20GiB
"""


def gc_command(
    store: Store = None,
    ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="Remove bundles unused for longer, such as 30d or 12h.")
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(metavar="N", help="Keep the N newest of each lineage; alone, remove the older ones."),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Then remove the least recently used until all bundles fit."),
    ] = None,
    pin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Never remove these: BP023, BP023/1.0.0 or a glob; repeatable. "
            "Also a line each in the file pins of the store.",
        ),
    ] = None,
    cache_ttl: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Remove compiled headers and objects unused for longer. [default: 30d]",
            show_default=False,
        ),
    ] = "30d",
    journal_ttl: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Remove journals and telemetry older than that. [default: 90d]",
            show_default=False,
        ),
    ] = "90d",
    cache: Cache = None,
    state: State = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, and why; write nothing.")
    ] = False,
    oona_url: OonaUrl = None,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Remove what nobody uses any more, and what runs left behind.

    Bundles go only by --ttl, --keep and --max-size; a load counts as a use. What a run that is alive or can
    be resumed needs stays, and so does what a process is loading. Staging folders of runs that are over,
    scratch, old caches and journals go in any case. It may run beside a compile, and be killed at any point.

    Exit codes: 0 all done, 1 something could not be removed, 2 bad input or no store and nothing was removed,
    5 another gc is at work or the store is locked, 7 a journal could not be written.
    """
    from tezzeret_cli.cli.gc_run import Flags, run_gc
    from tezzeret_cli.cli.output import read_format

    flags = Flags(
        settings={"store": store, "cache": cache, "state": state, "oona_url": oona_url},
        ttl=ttl,
        keep=keep,
        max_size=max_size,
        pins=tuple(pin or ()),
        cache_ttl=cache_ttl,
        journal_ttl=journal_ttl,
        dry_run=dry_run,
        form=read_format(None, json=json_output),
        quiet=quiet,
        verbosity=verbose,
    )
    raise typer.Exit(run_gc(flags))
