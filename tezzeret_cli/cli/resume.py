"""``tezzeret resume``: finish what a dead run left, list such runs, or give one up."""

from __future__ import annotations

from typing import Annotated

import typer

from tezzeret_cli.cli.flags import IdentityToken, Json, OonaUrl, OutputFormat, Quiet, State, Store, Verbose

EXAMPLES = """\b
Examples:
  tezzeret resume --store ./store
  tezzeret resume --store ./store --list
  tezzeret resume --store ./store --abandon 20260102T030405Z-1a2b3c4d
"""


def resume_command(
    store: Store = None,
    state: State = None,
    run: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this run. [default: all that died, oldest first]")
    ] = None,
    list_runs: Annotated[bool, typer.Option("--list", help="List the runs that did not end.")] = False,
    abandon: Annotated[
        str | None, typer.Option(metavar="ID", help="Give this run up; what it published stays.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done; write nothing.")
    ] = False,
    accept_tail_loss: Annotated[
        bool,
        typer.Option(
            "--accept-tail-loss", help="Go on where the last record of a journal is unreadable, without it."
        ),
    ] = False,
    oona_url: OonaUrl = None,
    identity_token: IdentityToken = None,
    output_format: OutputFormat = None,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Finish what a run that did not end left to do on a store.

    It was killed, interrupted or cut off. The same plan and options go on, and the report and exit code
    are those of the whole run. A prewarm does not go on: what it had measured is kept, and it is ended.

    Exit codes: those of the run; 0 without unfinished work; 2 when the run cannot go on here; 5 the run
    is alive; 6 its journal is damaged, 7 it could not be written.
    """
    from tezzeret_cli.cli.output import read_format
    from tezzeret_cli.cli.resume_run import Flags, run_resume

    flags = Flags(
        settings={"store": store, "state": state, "oona_url": oona_url},
        run=run,
        list=list_runs,
        abandon=abandon,
        dry_run=dry_run,
        accept_tail_loss=accept_tail_loss,
        identity_token=identity_token,
        form=read_format(output_format, json=json_output),
        quiet=quiet,
        verbosity=verbose,
    )
    raise typer.Exit(run_resume(flags))
