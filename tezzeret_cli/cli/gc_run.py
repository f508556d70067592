"""What ``tezzeret gc`` does: read the rules, collect, show what went and why."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path

import tezzeret_cli
from tezzeret_cli.cli.observers import make_observer, with_telemetry
from tezzeret_cli.cli.output import CommandFlags, Format, write_report, write_table
from tezzeret_cli.cli.values import parse_duration
from tezzeret_cli.errors import ExitCode, InputError
from tezzeret_cli.model.collect import GcPlan, GcReport, Rules
from tezzeret_cli.model.events import GarbageCollected
from tezzeret_cli.ops.gc import collect, would_collect
from tezzeret_cli.ops.gc_mark import PINS
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.settings import load_settings, parse_size, store_of
from tezzeret_cli.store.layout import existing_identity, open_store
from tezzeret_cli.telemetry.numbers import size
from tezzeret_cli.telemetry.text import clean


class Flags(CommandFlags, frozen=True, kw_only=True):
    """The command line as given."""

    ttl: str | None
    keep: int | None
    max_size: str | None
    pins: tuple[str, ...]
    cache_ttl: str
    journal_ttl: str
    dry_run: bool


def run_gc(flags: Flags) -> int:
    """Collect as the flags say and return the exit code. Raises ``TezzeretError``."""
    settings = load_settings(dict(os.environ), flags.settings)
    root = Path(store_of(settings))
    rules = _rules(flags, root)
    identity = existing_identity(root)
    plan = GcPlan(
        tool=tezzeret_cli.__version__,
        store_id=identity.store_id,
        store=str(root),
        cache=settings.cache,
        rules=rules,
        created=time.time(),
    )
    runs = Runs(Path(settings.state), identity.store_id, on_network=settings.state_on_network)
    told = make_observer(flags)
    telemetry = with_telemetry(told, root, settings)
    report = would_collect(root, runs, plan) if flags.dry_run else collect(open_store(root), runs, plan)
    _show(flags, report)
    if report.run is not None:
        counts = Counter(item.kind.value for item in report.removed)
        telemetry.on_event(GarbageCollected(dict(counts), report.freed_bytes))
    return ExitCode.JOB_FAILED if report.failed else ExitCode.OK


def _rules(flags: Flags, root: Path) -> Rules:
    if flags.keep is not None and flags.keep < 1:
        raise InputError(f"--keep {flags.keep}: too small", advice="give 1 or more")
    max_bytes = parse_size(flags.max_size, "--max-size") if flags.max_size is not None else None
    if max_bytes == 0:
        raise InputError(f"--max-size {flags.max_size}: too small", advice="give 1 or more")
    return Rules(
        ttl_s=parse_duration(flags.ttl, "--ttl") if flags.ttl is not None else None,
        keep=flags.keep,
        max_bytes=max_bytes,
        pins=(*flags.pins, *_pins(root / PINS)),
        cache_ttl_s=parse_duration(flags.cache_ttl, "--cache-ttl"),
        journal_ttl_s=parse_duration(flags.journal_ttl, "--journal-ttl"),
    )


def _pins(path: Path) -> list[str]:
    """The pins of a store: a glob on each line, comments after ``#``. Raises ``InputError``."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", advice="make it readable") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8", advice="write one glob on each line") from error
    return [pin for line in lines if (pin := line.partition("#")[0].strip())]


def _show(flags: Flags, report: GcReport) -> None:
    write_report(flags.form, report, ())
    if flags.form is Format.TEXT and not flags.quiet:
        write_table([(i.kind.value, size(i.bytes), clean(i.path), i.reason) for i in report.removed])
    for kept in report.failed:
        sys.stderr.write(f"could not be removed: {clean(kept.path)}: {clean(kept.reason)}\n")
    if flags.quiet:
        return
    if flags.verbosity:
        for kept in report.kept:
            sys.stderr.write(f"kept: {clean(kept.path)}: {clean(kept.reason)}\n")
    what = "would be removed" if report.dry_run else "removed"
    kept_too = f", {len(report.kept)} kept (-v says why)" if report.kept and not flags.verbosity else ""
    freed = f"{len(report.removed)} {what}, {size(report.freed_bytes)}{kept_too}"
    sys.stderr.write(f"{freed}; bundles hold {size(report.bundle_bytes)}\n")
