"""Choose how a run is shown: live on a terminal, plain lines elsewhere, or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from tezzeret_cli.cli.output import CommandFlags, Format
from tezzeret_cli.errors import SettingsError
from tezzeret_cli.model.events import Event, Notice, Observer
from tezzeret_cli.settings import Settings, leyline_secret
from tezzeret_cli.telemetry.spool import Spool

if TYPE_CHECKING:
    from tezzeret_cli.telemetry.oona import Bus


class ShownObserver(Protocol):
    """An observer that is open for the length of a run."""

    def on_event(self, event: Event) -> None: ...

    def __enter__(self) -> ShownObserver: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Fanout:
    """Hands every event to several observers, in order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def on_event(self, event: Event) -> None:
        for observer in self._observers:
            observer.on_event(event)


def with_telemetry(observer: Observer, root: Path, settings: Settings) -> Observer:
    """``observer``, and what it sees goes into the spool of the store at ``root`` too, and from there to Oona
    where that is wanted. Raises ``SettingsError``."""
    bus = oona_bus(settings)
    if not settings.telemetry:
        return observer

    def warn(text: str) -> None:
        observer.on_event(Notice("warning", text))

    spool = Spool(root, settings.telemetry, warn, settings.telemetry_interval_s)
    if bus is None:
        return Fanout(observer, spool)
    from tezzeret_cli.telemetry.oona import Oona

    return Fanout(observer, spool, Oona(root, bus, warn))


def oona_bus(settings: Settings) -> Bus | None:
    """Where telemetry is sent to. Raises ``SettingsError`` where that can never work."""
    if not settings.oona_url:
        return None
    if not settings.telemetry:
        raise SettingsError("oona_url: nothing is sent without a spool", advice="raise TEZZERET_TELEMETRY")
    from tezzeret_cli.telemetry.messages import Streams
    from tezzeret_cli.telemetry.oona import Bus, check

    bus = Bus(
        settings.oona_url,
        settings.oona_interval_s,
        leyline_secret(os.environ),
        Streams(settings.oona_telemetry, settings.oona_ready, settings.oona_emergency, settings.oona_errors),
    )
    check(bus)
    return bus


def make_observer(flags: CommandFlags) -> ShownObserver:
    """Progress goes to stderr, and a table to stdout where the report is text."""
    if flags.quiet:
        from tezzeret_cli.telemetry.plain import SilentObserver

        return SilentObserver()
    table = flags.form is Format.TEXT
    if sys.stderr.isatty():
        from tezzeret_cli.telemetry.console import ConsoleObserver

        return ConsoleObserver(table=table, verbosity=flags.verbosity)
    from tezzeret_cli.telemetry.plain import PlainObserver

    return PlainObserver(sys.stderr, sys.stdout if table else None, flags.verbosity)
