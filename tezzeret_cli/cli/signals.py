"""Ctrl-C once ends a run cleanly, twice at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Protocol

from tezzeret_cli.errors import ExitCode


class Stoppable(Protocol):
    """What a signal ends early."""

    def stop(self) -> None: ...


class Stop:
    """Stops the watched loop on the first signal, and the program where there is no loop yet; ``exit_code``
    says which one came, 0 for none. Typer would make 130 of any ``KeyboardInterrupt``."""

    def __init__(self) -> None:
        self.exit_code = 0
        self._loop: Stoppable | None = None

    def watch(self, loop: Stoppable) -> None:
        self._loop = loop
        if self.exit_code:
            loop.stop()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        code = ExitCode.TERMINATED if number == signal.SIGTERM else ExitCode.INTERRUPTED
        if self.exit_code:
            os._exit(code)
        self.exit_code = code
        if self._loop is None:
            os.write(2, b"tezzeret: error: interrupted\n")
            raise SystemExit(int(code))
        self._loop.stop()


@contextlib.contextmanager
def stopping() -> Iterator[Stop]:
    """Handle SIGINT and SIGTERM by a ``Stop`` inside the block."""
    stop = Stop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop.on_signal) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
