"""Choose how a run is shown: live on a terminal, plain lines elsewhere, or not at all."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol

from tezzeret_cli.model.events import Event


class ShownObserver(Protocol):
    """An observer that is open for the length of a run."""

    def on_event(self, event: Event) -> None: ...

    def __enter__(self) -> ShownObserver: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_observer(*, json: bool, quiet: bool, verbosity: int) -> ShownObserver:
    """Progress goes to stderr; the table goes to stdout unless the JSON report does."""
    if quiet:
        from tezzeret_cli.telemetry.plain import SilentObserver

        return SilentObserver()
    if sys.stderr.isatty():
        from tezzeret_cli.telemetry.console import ConsoleObserver

        return ConsoleObserver(table=not json, verbosity=verbosity)
    from tezzeret_cli.telemetry.plain import PlainObserver

    return PlainObserver(sys.stderr, table=None if json else sys.stdout, verbosity=verbosity)
