"""What ``tezzeret verify`` does: choose the policy, run the operation, show what was found."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tezzeret_cli.cli.observers import make_observer, oona_bus, with_telemetry
from tezzeret_cli.cli.output import CommandFlags, Format, write_report, write_table
from tezzeret_cli.errors import InputError, StoreError
from tezzeret_cli.host.memory import usable_cores
from tezzeret_cli.model.events import VerificationFailed
from tezzeret_cli.model.trust import Trust
from tezzeret_cli.model.verification import BundleCheck, VerifyReport, verify_exit_code
from tezzeret_cli.ops.verify import bundles_of, make_verify_report, rollbacks, verify_all
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.settings import Settings, load_settings, store_of
from tezzeret_cli.store.layout import read_identity, store_of_bundle
from tezzeret_cli.telemetry.outcomes import verify_suite
from tezzeret_cli.telemetry.text import clean
from tezzeret_cli.trust.choice import policy_of
from tezzeret_cli.trust.verify import Expected

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
HEADINGS = ("bundle", "version", "status", "signed by", "problem")


class Flags(CommandFlags, frozen=True, kw_only=True):
    """The command line as given."""

    paths: tuple[str, ...]
    trust: Trust
    expect_id: str | None
    expect_version: str | None
    expect_digest: str | None
    load: bool


def run_verify(flags: Flags) -> int:
    """Verify as the flags say, show the report, and return the exit code. Raises ``TezzeretError``."""
    environment = dict(os.environ)
    settings = load_settings(environment, flags.settings)
    oona_bus(settings)  # a wrong one is a mistake whether a bundle fails or not
    policy = policy_of(flags.trust)
    expected = _expected(flags)
    bundles, stores = _targets(flags, settings)
    workers = settings.jobs or usable_cores()
    progress = _Progress(len(bundles), shown=not flags.quiet and sys.stderr.isatty())
    checks = verify_all(bundles, policy, expected, workers, progress.on_checked)
    progress.close()
    notes: list[str] = []
    for store in stores:
        older, unreadable = _rollbacks(store, settings)
        checks += older
        notes += unreadable
    if flags.load:
        checks = _rehearsed(checks, environment, settings, workers)
    _tell(checks, stores, flags, settings)
    report = make_verify_report(checks, notes)
    _show(flags, report)
    return verify_exit_code(report)


def _rehearsed(
    checks: list[BundleCheck], environment: Mapping[str, str], settings: Settings, workers: int
) -> list[BundleCheck]:
    from tezzeret_cli.ops.rehearsal import rehearse_all
    from tezzeret_cli.worker.pool import WorkerPool

    return rehearse_all(checks, WorkerPool, environment, timeout_s=settings.proof_timeout_s, workers=workers)


def _expected(flags: Flags) -> Expected:
    if flags.expect_digest is not None and not _SHA256.fullmatch(flags.expect_digest):
        raise InputError(f"--expect-digest {flags.expect_digest}: not a sha256", advice="give 64 hex digits")
    for name, value in (("id", flags.expect_id), ("version", flags.expect_version)):
        if value == "":
            raise InputError(f"--expect-{name}: it is empty", advice="give a value, or leave it out")
    return Expected(flags.expect_id, flags.expect_version, flags.expect_digest)


def _targets(flags: Flags, settings: Settings) -> tuple[list[Path], list[Path]]:
    """The bundles to verify, and the stores that were named."""
    bundles: list[Path] = []
    stores: list[Path] = []
    for path in map(Path, flags.paths or (store_of(settings),)):
        found, is_store = bundles_of(path)
        bundles += found
        if is_store:
            stores.append(path)
        elif not flags.paths:
            raise InputError(f"{path}: no store is there", advice="check the path, or that it is mounted")
    return bundles, stores


def _rollbacks(store: Path, settings: Settings) -> tuple[list[BundleCheck], list[str]]:
    identity = read_identity(store)
    if identity is None:
        return [], [f"{store}: it has no store.json, so nothing tells which versions were published"]
    runs = Runs(Path(settings.state), identity.store_id, on_network=settings.state_on_network)
    known, unreadable = runs.published()
    return rollbacks(store, known), unreadable


def _tell(checks: Sequence[BundleCheck], stores: Sequence[Path], flags: Flags, settings: Settings) -> None:
    """Put what failed into the telemetry of its store."""
    failed: dict[Path, list[BundleCheck]] = {}
    for check in checks:
        if not check.ok and (root := _home(Path(check.bundle), stores)) is not None:
            inside = Path(os.path.relpath(check.bundle, root)).as_posix()
            failed.setdefault(root, []).append(msgspec.structs.replace(check, bundle=inside))
    observer = make_observer(flags)
    for root, found in failed.items():
        with_telemetry(observer, root, settings).on_event(VerificationFailed(str(root), tuple(found)))


def _home(bundle: Path, stores: Sequence[Path]) -> Path | None:
    """The store of a bundle; ``None`` where there is none that this program can write to."""
    for store in stores:
        if store in bundle.parents:
            return store if read_identity(store) is not None else None
    with contextlib.suppress(StoreError):
        return store_of_bundle(bundle)
    return None


class _Progress:
    """How far it is, on a terminal."""

    def __init__(self, total: int, *, shown: bool) -> None:
        self._total = total
        self._shown = shown
        self._done = 0
        self._failed = 0
        self._line = ""

    def on_checked(self, check: BundleCheck) -> None:
        self._done += 1
        self._failed += not check.ok
        if self._shown and (self._done % 10 == 0 or self._done == self._total):
            self._line = f"verified {self._done} of {self._total}, {self._failed} failed"
            sys.stderr.write(f"\r{self._line}")
            sys.stderr.flush()

    def close(self) -> None:
        """Take the line away: what was found stands there."""
        if self._line:
            sys.stderr.write(f"\r{' ' * len(self._line)}\r")
            sys.stderr.flush()


def _show(flags: Flags, report: VerifyReport) -> None:
    write_report(flags.form, report, [verify_suite(report)])
    if flags.form is Format.TEXT and not flags.quiet:
        rows = [HEADINGS, *(_row(check) for check in report.bundles)]
        write_table(rows)
    for note in report.notes:
        sys.stderr.write(f"warning: {clean(note)}\n")
    if flags.quiet:
        for check in report.bundles:
            if not check.ok:
                sys.stderr.write(f"{clean(check.bundle)}: {clean(check.problem or '')}\n")
    else:
        sys.stderr.write(f"{report.counts['verified']} verified, {report.counts['failed']} failed\n")


def _row(check: BundleCheck) -> tuple[str, ...]:
    said = check.problem or "; ".join(
        text for text in (check.proof, check.runs_here and f"not for this machine: {check.runs_here}") if text
    )
    status = "verified" if check.ok else check.problem_kind or "failed"
    return tuple(
        map(
            clean,
            (
                check.blueprint_id or check.bundle,
                check.version or "",
                status,
                check.signed_by or "",
                said or "",
            ),
        )
    )
