"""``tezzeret stats``: what the runs on a store did, and how it stands."""

from __future__ import annotations

from typing import Annotated

import typer

from tezzeret_cli.cli.flags import Cache, Json, State, Store

EXAMPLES = """\b
Examples:
  tezzeret stats --store ./store --since 7d
  tezzeret stats --store ./store --watch
  tezzeret stats --store ./store --format prometheus --output tezzeret.prom
"""


def _formats() -> list[str]:
    return ["table", "json", "prometheus"]


def stats_command(
    store: Store = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN", help="Only what ended since then: 7d, 12h or 2026-01-31. [default: all]"
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="table, json or prometheus. [default: table]",
            autocompletion=_formats,
            show_default=False,
        ),
    ] = "table",
    output: Annotated[
        str | None, typer.Option(metavar="FILE", help="Replace this file at once, instead of printing.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again until Ctrl-C.")] = False,
    interval: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="How often, with --watch. [default: 2]", show_default=False),
    ] = 2.0,
    cache: Cache = None,
    state: State = None,
    json_output: Json = False,
) -> None:
    """Show what the runs on a store did, and how it stands.

    Durations by strategy, how often a bundle was there already, fallbacks with reasons, the slowest
    blueprints, sizes, journals, and what gc would free: from the journals of this host and the folders of the
    store. It only reads, and may run beside anything.

    Exit codes: 0 all done, 2 bad input or no store, 7 the journals could not be read.
    """
    from tezzeret_cli.cli.stats_run import Flags, run_stats

    flags = Flags(
        settings={"store": store, "cache": cache, "state": state},
        since=since,
        format="json" if json_output else form,
        output=output,
        watch=watch,
        interval_s=interval,
    )
    raise typer.Exit(run_stats(flags))
