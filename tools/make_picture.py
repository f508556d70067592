"""Write docs/forge.svg: the forge at work over real blueprints, as a terminal shows it.

The real command compiles into a store of its own, which takes some minutes. The picture is of the moment when
four jobs have ended and two are under way.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from tezzeret_cli.cli import compile_run
from tezzeret_cli.cli.main import app
from tezzeret_cli.model.events import Event, JobFinished, JobStage
from tezzeret_cli.telemetry.console import ConsoleObserver

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "forge.svg"
COMMAND = "tezzeret compile --select 'BP00*' -j 2"
ENDED, RUNNING = 4, 2


class Painter:
    """The live view on a console that records; ``svg`` is what was to be seen at that moment."""

    def __init__(self) -> None:
        self._console = Console(
            record=True, file=io.StringIO(), width=92, color_system="truecolor", highlight=False
        )
        self._console.print(f"$ {COMMAND}")
        self._view = ConsoleObserver(table=False, verbosity=0, console=self._console)
        self._ended = 0
        self._running: set[int] = set()
        self.svg: str | None = None

    def __enter__(self) -> Self:
        self._view.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._view.__exit__(kind, error, trace)

    def on_event(self, event: Event) -> None:
        self._view.on_event(event)
        match event:
            case JobFinished(number, _):
                self._ended += 1
                self._running.discard(number)
            case JobStage(number, _):
                self._running.add(number)
                if self.svg is None and (self._ended, len(self._running)) == (ENDED, RUNNING):
                    self._console.print(self._view)
                    self.svg = self._console.export_svg(title="tezzeret", clear=False)


def main() -> int:
    painter = Painter()
    compile_run.make_observer = lambda _: painter
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"TEZZERET_STORE": folder, "TEZZERET_SIGN": "none"}
        code = app(shlex.split(COMMAND)[1:], standalone_mode=False)
    if painter.svg is None:
        sys.stderr.write(f"exit code {code}, and never {ENDED} ended and {RUNNING} running\n")
        return 1
    PICTURE.write_text(painter.svg, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
