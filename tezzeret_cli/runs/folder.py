"""Where the runs of a store are kept on this host, and which of them are alive, dead or done."""

from __future__ import annotations

import contextlib
import datetime
import secrets
import shutil
import time
from pathlib import Path

from tezzeret_cli.bundle.version import Version, parse
from tezzeret_cli.errors import InputError, JournalChangedError, JournalError
from tezzeret_cli.model.collect import GcPlan
from tezzeret_cli.model.prewarm import PrewarmPlan
from tezzeret_cli.model.run import RunPlan
from tezzeret_cli.runs.ledger import Ledger, Replay
from tezzeret_cli.runs.mounts import network_filesystem
from tezzeret_cli.runs.state import RunState
from tezzeret_cli.wal.disk import Disk, explained, make_folders, sync_folder
from tezzeret_cli.wal.journal import is_live
from tezzeret_cli.wal.reader import read
from tezzeret_cli.wal.segment import QUARANTINE

STARTING, OPEN, DONE, DAMAGED, CLAIMS = "starting", "open", "done", "damaged", "claims"
UNBORN_S = 86400
_PEEKS = 3
KEPT_RUNS = 1000
"""So many ended runs are kept; older ones go when a new one begins, or by age with ``gc``."""


class Runs:
    """The runs of one store: ``open/<run id>/`` until they end, ``done/<run id>/`` afterwards.

    A run is made in ``starting/`` and moved when its plan is on record, so that whatever is in ``open/`` is
    alive or can be resumed. It is alive as long as a process holds its journal's lock. Methods raise
    ``JournalError`` when the folder cannot be used.
    """

    def __init__(self, state: Path, store_id: str, *, on_network: bool = False) -> None:
        self.root = state / store_id
        self.store_id = store_id
        self._on_network = on_network

    @property
    def claims(self) -> Path:
        return self.root / CLAIMS

    def begin(self, plan: RunPlan | GcPlan | PrewarmPlan) -> Ledger:
        """A new run, garbage collection or prewarm, alive, with its plan on record."""
        self._prepare()
        self._drop_old()
        stamp = datetime.datetime.fromtimestamp(plan.created, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        run = f"{stamp}-{secrets.token_hex(4)}"
        ledger = Ledger.open(self.root / STARTING / run, create=True)
        try:
            ledger.began(plan)
            ledger.move(self.root / OPEN / run)
        except BaseException:
            with contextlib.suppress(JournalError):
                ledger.close()
            raise
        return ledger

    def unfinished(self) -> list[str]:
        """The ids of the runs that did not end and are not alive, oldest first."""
        return [run for run in self._ids(OPEN) if not self._is_live(run)]

    def live(self) -> list[str]:
        """The ids of the runs that are going on now."""
        return [run for run in self._ids(OPEN) if self._is_live(run)]

    def all_open(self) -> frozenset[str]:
        """The ids of all runs that did not end."""
        return frozenset(self._ids(OPEN))

    def ended(self, run: str) -> bool:
        """Whether the run was started here and ended."""
        return run in self._ids(DONE)

    def unsettled(self) -> dict[str, RunState | None]:
        """The runs that are alive or can be resumed, each with where it stands, ``None`` where its journal
        cannot be read. A garbage collection or a prewarm that died is none of them. Changes nothing."""
        found: dict[str, RunState | None] = {}
        for run in self._ids(OPEN):
            state = self._peeked(run)
            if state is None or self._is_live(run) or (state.plan is not None and state.ending is None):
                found[run] = state
        return found

    def journals(self) -> dict[str, tuple[Path, Path]]:
        """Every run, oldest first, with the folders that its journal is in: before it ends, and then."""
        found = {*self._ids(OPEN)}
        found.update(self._ids(DONE))
        return {run: (self.root / OPEN / run, self.root / DONE / run) for run in sorted(found)}

    def outdated(self, before: float) -> list[Path]:
        """The journals of runs that ended before ``before`` (seconds since 1970), oldest first. One whose
        recovery found damage is evidence, and is none of them."""
        found = []
        for run in self._ids(DONE):
            folder = self.root / DONE / run
            with contextlib.suppress(FileNotFoundError):
                if folder.stat().st_mtime < before and not (folder / QUARANTINE).exists():
                    found.append(folder)
        return found

    def drop(self, run: str) -> None:
        """Remove the journal of a run that ended; no reader sees half of it."""
        doomed = self.root / STARTING / run
        with explained(self.root), contextlib.suppress(FileNotFoundError):
            (self.root / DONE / run).rename(doomed)
            shutil.rmtree(doomed)

    def knows(self, run: str) -> bool:
        """Whether the run was started here."""
        return run in self._ids(OPEN) or self.ended(run)

    def folder(self, run: str) -> Path:
        """Where the journal of a run that did not end is. Raises ``InputError`` for an unknown id."""
        if run not in self._ids(OPEN):
            known = ", ".join(self._ids(OPEN)) or "none"
            raise InputError(f"run {run}: no such unfinished run", advice=f"unfinished are: {known}")
        return self.root / OPEN / run

    def reopen(self, run: str, *, accept_tail_loss: bool = False) -> Ledger | None:
        """The ledger of a dead run or prewarm; ``None`` when it turns out that it ended, and at most its
        folder had to be put away. Raises ``JournalLockedError`` when the run is alive."""
        try:
            ledger = Ledger.open(self.folder(run), accept_tail_loss=accept_tail_loss)
        except JournalError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        if ledger.state.unsettled:
            return ledger
        self.put_away(ledger)
        return None

    def peek(self, run: str) -> RunState:
        """What the journal of a run says, alive or dead. Changes nothing. Raises ``JournalError``."""
        found = Replay()
        for frame in read(self.folder(run)):
            found.add(frame)
        return found.state

    def published(self) -> tuple[dict[tuple[str, str], Version], list[str]]:
        """The highest version that any run is on record to have published, by blueprint and lineage; and, a
        line each, the journals that could not be read. Changes nothing."""
        highest: dict[tuple[str, str], Version] = {}
        unreadable = []
        for kind in (DONE, OPEN):
            for run in self._ids(kind):
                found = Replay()
                try:
                    for frame in read(self.root / kind / run):
                        found.add(frame)
                except JournalError as error:
                    unreadable.append(f"run {run}: {error}")
                    continue
                for report in found.state.finished.values():
                    version = parse(report.version) if report.bundle and report.version else None
                    if version is not None:
                        key = report.blueprint_id, version.lineage
                        highest[key] = max(highest.get(key, version), version)
        return highest, unreadable

    def set_aside(self, run: str) -> str:
        """Move a run with a damaged journal out of the way, as evidence; where it is now."""
        target = self.root / DAMAGED / run
        with explained(self.root):
            target.parent.mkdir(exist_ok=True)
            self.folder(run).rename(target)
        return str(target)

    def put_away(self, ledger: Ledger) -> None:
        """File the journal of a run that ended among the done, and close it."""
        try:
            ledger.move(self.root / DONE / ledger.run_id)
        finally:
            ledger.close()

    def _prepare(self) -> None:
        with explained(self.root):
            disk = Disk()
            if not (self.root / STARTING).is_dir():
                make_folders(disk, self.root)
            for folder in (STARTING, OPEN, DONE, CLAIMS):
                (self.root / folder).mkdir(exist_ok=True)
            sync_folder(disk, self.root)
            kind = network_filesystem(self.root)
        if kind and not self._on_network:
            raise JournalError(
                f"journal {self.root}: it is on a network filesystem ({kind}), which promises no locks",
                advice="put it on a local disk with --state, or set state_on_network where one host uses it",
            )

    def _ids(self, kind: str) -> list[str]:
        try:
            with explained(self.root):
                return sorted(path.name for path in (self.root / kind).iterdir() if path.is_dir())
        except JournalError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return []
            raise

    def _is_live(self, run: str) -> bool:
        try:
            return is_live(self.root / OPEN / run)
        except JournalError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return True
            raise

    def _peeked(self, run: str) -> RunState | None:
        for _ in range(_PEEKS):
            try:
                return self.peek(run)
            except JournalChangedError:
                continue
            except (JournalError, InputError):
                break
        return None

    def _drop_old(self) -> None:
        """Remove the oldest ended runs, and those that died a day ago before they began. One whose recovery
        found damage is kept: it is evidence."""
        for run in self._ids(STARTING):
            folder = self.root / STARTING / run
            with contextlib.suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > UNBORN_S:
                    shutil.rmtree(folder, ignore_errors=True)
        done = [run for run in self._ids(DONE) if not (self.root / DONE / run / QUARANTINE).exists()]
        for run in done[:-KEPT_RUNS]:
            self.drop(run)


def age_s(plan: RunPlan) -> float:
    """How long ago a run began, by a clock that may have been set since; never below 0."""
    return max(0.0, time.time() - plan.created)
