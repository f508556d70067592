"""The command's entry: the Typer app, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import tezzeret_cli
from tezzeret_cli.cli import compile as compile_cli
from tezzeret_cli.cli import gc as gc_cli
from tezzeret_cli.cli import prewarm as prewarm_cli
from tezzeret_cli.cli import resume as resume_cli
from tezzeret_cli.cli import stats as stats_cli
from tezzeret_cli.cli import verify as verify_cli
from tezzeret_cli.errors import ExitCode, TezzeretError

app = typer.Typer(
    name="tezzeret",
    help="Compile PyTorch blueprints ahead of time into bundles that train without a compiler.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the boxed help costs more to import than all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("compile", epilog=compile_cli.EXAMPLES)(compile_cli.compile_command)
app.command("resume", epilog=resume_cli.EXAMPLES)(resume_cli.resume_command)
app.command("gc", epilog=gc_cli.EXAMPLES)(gc_cli.gc_command)
app.command("prewarm", epilog=prewarm_cli.EXAMPLES)(prewarm_cli.prewarm_command)
app.command("stats", epilog=stats_cli.EXAMPLES)(stats_cli.stats_command)
app.command("verify", epilog=verify_cli.EXAMPLES)(verify_cli.verify_command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tezzeret {tezzeret_cli.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Compile PyTorch blueprints ahead of time into bundles that train without a compiler."""


def main() -> None:
    """Run the command line and exit with the code that ``errors.ExitCode`` gives the outcome."""
    sys.exit(_run())


def _run() -> int:
    try:
        app(standalone_mode=True)
    except TezzeretError as error:
        return _fail(str(error), error, error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", None, ExitCode.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.JOB_FAILED
    except Exception as error:
        text = f"{type(error).__name__}: {error}; this is a defect of tezzeret, -vv shows where"
        return _fail(text, error, ExitCode.JOB_FAILED)
    return ExitCode.OK


def _fail(message: str, error: BaseException | None, code: ExitCode) -> int:
    if error is not None and any(word.startswith("-vv") for word in sys.argv):
        import traceback

        traceback.print_exception(error)
    line = "".join(character if character.isprintable() else " " for character in message)
    sys.stderr.write(f"tezzeret: error: {line}\n")
    return code
