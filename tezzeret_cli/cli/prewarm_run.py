"""What ``tezzeret prewarm`` does: find the bundles, warm them, show their times."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tezzeret_cli.cli.observers import make_observer, with_telemetry
from tezzeret_cli.cli.output import CommandFlags, Format, write_report
from tezzeret_cli.cli.signals import stopping
from tezzeret_cli.errors import ExitCode, InputError
from tezzeret_cli.host.memory import threads_each
from tezzeret_cli.model.events import BundlePrewarmed, Event, Observer, VerificationFailed
from tezzeret_cli.model.prewarm import Prewarmed, PrewarmReport
from tezzeret_cli.model.trust import Trust
from tezzeret_cli.ops.prewarm import Wish, places, prewarm
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.settings import load_settings, store_of
from tezzeret_cli.store.layout import existing_identity
from tezzeret_cli.telemetry.numbers import milliseconds
from tezzeret_cli.telemetry.outcomes import prewarm_suite
from tezzeret_cli.telemetry.text import clean, tabbed
from tezzeret_cli.trust.choice import policy_of
from tezzeret_cli.trust.trusted import default_folder
from tezzeret_cli.worker.pool import WorkerPool
from tezzeret_cli.worker.task import BUILDER, Template

_DEVICE = re.compile(r"cpu|cuda(:\d+)?")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)(%?)")
BUILTIN = "tezzeret_cli.blueprints.*"
HEADINGS = (
    "id",
    "version",
    "status",
    "variant",
    "first",
    "p50",
    "p95",
    "eager first",
    "eager p50",
    "change",
    "why",
)


class Flags(CommandFlags, frozen=True, kw_only=True):
    """The command line as given."""

    paths: tuple[str, ...]
    device: str | None
    jobs: int
    max_regression: str | None
    trust: Trust
    allowed: tuple[str, ...]


def run_prewarm(flags: Flags) -> int:
    """Warm as the flags say, show the times, and return the exit code. Raises ``TezzeretError``."""
    if flags.device is not None and not _DEVICE.fullmatch(flags.device):
        raise InputError(f"--device {flags.device}: unknown device", advice="use cpu, cuda or cuda:N")
    repeat = flags.settings["prewarm_repeat"]
    if repeat is not None and repeat < 1:
        raise InputError(f"--repeat {repeat}: too small", advice="give 1 or more")
    if flags.jobs < 1:
        raise InputError(f"--jobs {flags.jobs}: too small", advice="give 1 or more")
    settings = load_settings(dict(os.environ), flags.settings)
    environment = dict(os.environ)
    trust = _absolute(flags.trust, environment)
    policy_of(trust)  # what is wrong with it is the user's mistake, not each bundle's
    wish = Wish(
        repeat=settings.prewarm_repeat,
        jobs=flags.jobs,
        threads=threads_each(flags.jobs),
        timeout_s=settings.proof_timeout_s,
        device=flags.device,
        max_regression=_share(flags.max_regression),
        allowed=(BUILTIN, *flags.allowed),
        trust=trust,
    )
    bundles = places([Path(path) for path in flags.paths or (store_of(settings),)])

    def runs_of(root: Path) -> Runs:
        store_id = existing_identity(root).store_id
        return Runs(Path(settings.state), store_id, on_network=settings.state_on_network)

    observer = make_observer(flags)
    environment = dict(os.environ)
    roots = {place.root for place in bundles if place.root is not None}
    stores = {str(root): with_telemetry(observer, root, settings) for root in roots}
    with stopping() as stop, observer:
        report = prewarm(
            bundles,
            wish,
            WorkerPool({BUILDER: Template((), environment)}),
            environment,
            _ByStore(observer, stores),
            runs_of,
            stop.watch,
        )
    _show(flags, report)
    if stop.exit_code:
        return stop.exit_code
    return ExitCode.JOB_FAILED if report.counts["failed"] or report.counts["regressed"] else ExitCode.OK


def _absolute(trust: Trust, environment: Mapping[str, str]) -> Trust:
    """Whom to believe, for processes in folders of their own."""
    return msgspec.structs.replace(
        trust,
        keys=tuple(map(os.path.abspath, trust.keys)),
        trusted_root=os.path.abspath(trust.trusted_root) if trust.trusted_root else "",
        folder=str(default_folder(environment)),
    )


class _ByStore:
    """Telemetry about a bundle belongs to the bundle's store."""

    def __init__(self, observer: Observer, stores: Mapping[str, Observer]) -> None:
        self._observer = observer
        self._stores = stores

    def on_event(self, event: Event) -> None:
        store = event.store if isinstance(event, BundlePrewarmed | VerificationFailed) else ""
        self._stores.get(store, self._observer).on_event(event)


def _share(text: str | None) -> float | None:
    """0.2 of ``20%`` or ``0.2``. Raises ``InputError``."""
    if text is None:
        return None
    match = _SHARE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"--max-regression {text}: not a share", advice="write it like 20%")
    return float(match[1]) / (100 if match[2] else 1)


def _show(flags: Flags, report: PrewarmReport) -> None:
    write_report(flags.form, report, [prewarm_suite(report)])
    if flags.form is Format.TEXT and not flags.quiet:
        rows = [row for bundle in report.bundles for row in _rows(bundle)]
        if sys.stdout.isatty():
            _table(rows)
        else:
            sys.stdout.write(tabbed([HEADINGS, *rows]))
    sys.stdout.flush()
    if not flags.quiet:
        counts = ", ".join(f"{count} {status}" for status, count in report.counts.items() if count)
        sys.stderr.write(f"{counts or 'nothing was warmed'}\n")


def _rows(bundle: Prewarmed) -> list[tuple[str, ...]]:
    head = (clean(bundle.blueprint_id), clean(bundle.version), bundle.status)
    why = clean(bundle.reason or "")
    if bundle.sample is None:
        return [(*head, *[""] * 7, why)]
    change = "" if bundle.regression is None else f"{bundle.regression:+.0%}"
    return [
        (
            *head,
            clean(times.name),
            *map(
                _time, (times.first_ms, times.p50_ms, times.p95_ms, times.eager_first_ms, times.eager_p50_ms)
            ),
            change,
            why or clean(times.why or ""),
        )
        for times in bundle.sample.variants
    ]


def _time(value: float | None) -> str:
    return "" if value is None else milliseconds(value)


def _table(rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*HEADINGS, box=None, pad_edge=False)
    styles = {"regressed": "red", "failed": "red", "fallback": "yellow"}
    for row in rows:
        table.add_row(*map(Text, row), style=styles.get(row[2], ""))
    Console(highlight=False).print(table)
