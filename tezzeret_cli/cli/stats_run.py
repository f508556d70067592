"""What ``tezzeret stats`` does: gather, and show in the form that was asked for."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tezzeret_cli.cli.breakers import breaker_rules
from tezzeret_cli.cli.signals import stopping
from tezzeret_cli.cli.values import parse_since
from tezzeret_cli.errors import ExitCode, InputError
from tezzeret_cli.files import write_whole
from tezzeret_cli.model.stats import Stats
from tezzeret_cli.ops.history import History
from tezzeret_cli.ops.stats import gather
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.settings import load_settings, store_of
from tezzeret_cli.store.layout import existing_identity

FORMATS = ("table", "json", "prometheus")
_WIDTH = 160


class Flags(msgspec.Struct, frozen=True):
    """The command line as given. ``settings`` holds ``None`` for what was not given."""

    settings: Mapping[str, Any]
    since: str | None
    format: str
    output: str | None
    watch: bool
    interval_s: float


def run_stats(flags: Flags) -> int:
    """Show statistics as the flags say and return the exit code. Raises ``TezzeretError``."""
    if flags.format not in FORMATS:
        raise InputError(
            f"--format {flags.format}: unknown format", advice=f"use one of {', '.join(FORMATS)}"
        )
    if flags.watch and not flags.interval_s > 0:
        raise InputError(f"--interval {flags.interval_s:g}: too small", advice="give seconds above 0")
    settings = load_settings(dict(os.environ), flags.settings)
    root = Path(store_of(settings))
    if flags.since is not None:
        parse_since(flags.since, "--since", time.time())
    identity = existing_identity(root)
    runs = Runs(Path(settings.state), identity.store_id, on_network=settings.state_on_network)
    history = History(runs)

    def now() -> Stats:
        moment = time.time()
        since = parse_since(flags.since, "--since", moment) if flags.since is not None else None
        return gather(root, runs, history, Path(settings.cache), since, moment, breaker_rules(settings))

    if not flags.watch:
        _write(flags, _text(flags, now()))
        return ExitCode.OK
    watch = _Watch(flags.interval_s)
    with stopping() as stop:
        stop.watch(watch)
        _show(flags, now, watch)
    return ExitCode.OK


class _Watch:
    """Says when to look again, until it is stopped. A ``KeyboardInterrupt`` could get lost in a finaliser."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    def goes_on(self) -> bool:
        """Wait for the next look; false when there is none."""
        due = time.monotonic() + self._interval_s
        while not self._stopped and (left := due - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
        return not self._stopped


def _show(flags: Flags, now: Callable[[], Stats], watch: _Watch) -> None:
    if flags.format == "table" and flags.output is None and sys.stdout.isatty():
        from rich.console import Console
        from rich.live import Live

        from tezzeret_cli.telemetry.stats_view import view

        with Live(view(now()), console=Console(highlight=False), auto_refresh=False, screen=True) as live:
            while watch.goes_on():
                live.update(view(now()), refresh=True)
        return
    _write(flags, _text(flags, now()))
    while watch.goes_on():
        _write(flags, _text(flags, now()))


def _text(flags: Flags, stats: Stats) -> str:
    if flags.format == "json":
        return msgspec.json.encode(stats).decode() + "\n"
    if flags.format == "prometheus":
        from tezzeret_cli.telemetry.prometheus import prometheus

        return prometheus(stats)
    from rich.console import Console

    from tezzeret_cli.telemetry.stats_view import view

    shown = flags.output is None and sys.stdout.isatty()
    console = Console(highlight=False, width=None if shown else _WIDTH, no_color=None if shown else True)
    with console.capture() as capture:
        console.print(view(stats))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _write(flags: Flags, text: str) -> None:
    if flags.output is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    path = Path(flags.output)
    try:
        write_whole(path, text.encode(), durable=False)
    except OSError as error:
        raise InputError(
            f"--output {path}: {error.strerror}", advice="name a file that can be written"
        ) from error
