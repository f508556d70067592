"""A prewarm on record: what was measured is kept, whenever its process dies.

What a dead one did not measure is not measured later: it asked how bundles did at that time (ADR 10).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tezzeret_cli
from tezzeret_cli.bundle.scan import BUNDLES
from tezzeret_cli.errors import JournalError, JournalLockedError
from tezzeret_cli.model.events import Notice, Observer
from tezzeret_cli.model.prewarm import PrewarmPlan, Sample
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.runs.ledger import BundleLedger, Ledger
from tezzeret_cli.store.layout import open_store
from tezzeret_cli.store.samples import append

DIED = "its process died"
MEASURED = ("warmed", "regressed")

RunsOf = Callable[[Path], Runs]
"""The runs on this host of the store in a folder."""


class Recorder:
    """The journals of a prewarm, one for each store that it measures bundles of.

    Every method raises ``JournalError``, after which all can be settled.
    """

    def __init__(self, runs_of: RunsOf) -> None:
        self._runs_of = runs_of
        self._ledgers: dict[Path, tuple[Runs, Ledger, Counter[str]]] = {}

    def begin(
        self,
        bundles: Mapping[Path, Sequence[Path]],
        *,
        repeat: int,
        jobs: int,
        threads: int,
        device: str | None,
        observer: Observer,
    ) -> None:
        """Put on record what is about to be measured: for each store, the folders of bundles in it. What dead
        prewarms measured there is kept first, so that the new times are compared with it.

        Raises ``StoreError`` for one that cannot be written.
        """
        for root, folders in bundles.items():
            open_store(root)
            runs = self._runs_of(root)
            settle_dead(runs, root, observer)
            plan = PrewarmPlan(
                tool=tezzeret_cli.__version__,
                store_id=runs.store_id,
                store=str(root.resolve()),
                bundles=tuple(map(name_of, folders)),
                repeat=repeat,
                jobs=jobs,
                threads=threads,
                device=device,
                created=time.time(),
            )
            self._ledgers[root] = runs, runs.begin(plan), Counter()

    def timing(self, root: Path | None, bundle: Path) -> Timed:
        """A bundle is about to be timed; ``root`` is its store, if it is in one."""
        if root is None:
            return Timed(None, None, bundle, Counter())
        _, ledger, counts = self._ledgers[root]
        return Timed(ledger.timing(name_of(bundle)), root, bundle, counts)

    def end(self) -> None:
        """Everything was measured, or it was interrupted."""
        for runs, ledger, counts in self._ledgers.values():
            ledger.prewarmed(counts)
            runs.put_away(ledger)

    def close(self) -> None:
        """Let go of all journals; those of a prewarm that did not end can be settled."""
        for _, ledger, _ in self._ledgers.values():
            ledger.close()


class Timed:
    """What becomes of one bundle, on record where it is in a store."""

    def __init__(
        self, part: BundleLedger | None, root: Path | None, bundle: Path, counts: Counter[str]
    ) -> None:
        self._part = part
        self._root = root
        self._bundle = bundle
        self._counts = counts
        self._kept = False

    def keep(self, sample: Sample) -> None:
        """Add the measurement to the store's. Raises ``StoreError``."""
        if self._part is None or self._root is None:
            return
        self._part.timed(sample)
        append(self._root, self._bundle.parent.name, self._bundle.name, sample)
        self._kept = True

    def ended(self, status: str) -> None:
        self._counts[status] += 1
        if self._part is not None:
            self._part.ended(status, kept=self._kept)


def name_of(bundle: Path) -> str:
    """A bundle's folder, relative to its store."""
    return f"{BUNDLES}/{bundle.parent.name}/{bundle.name}"


def settle_dead(runs: Runs, root: Path, observer: Observer) -> None:
    """Settle every prewarm of the store at ``root`` whose process died; the observer is told. Raises
    ``JournalError`` and ``StoreError``."""
    for run in runs.unfinished():
        try:
            state = runs.peek(run)
        except JournalError as error:
            observer.on_event(Notice("warning", f"run {run}: {error}"))
            continue
        if state.prewarming is not None and state.ending is None:
            settle_run(runs, run, root, observer)


def settle_run(runs: Runs, run: str, root: Path, observer: Observer) -> None:
    """Settle a dead prewarm, unless another process is at it. Raises ``JournalError`` and ``StoreError``."""
    try:
        ledger = runs.reopen(run)
    except JournalLockedError:
        return
    if ledger is not None:
        observer.on_event(Notice("info", settle(runs, ledger, root)))


def settle(runs: Runs, ledger: Ledger, root: Path, reason: str = DIED) -> str:
    """Keep what a dead prewarm measured, and end it on record; what was done, in a line.

    Closes ``ledger``. Raises ``JournalError`` and ``StoreError``; then it is as dead as before.
    """
    prewarming = ledger.state.prewarming
    assert prewarming is not None
    try:
        for txn, timing in list(prewarming.open.items()):
            bundle = root / timing.bundle
            kept = timing.sample is not None and bundle.is_dir()
            if timing.sample is not None and kept:
                append(root, bundle.parent.name, bundle.name, timing.sample)
            ledger.open_timing(txn).ended("warmed" if kept else "lost", kept=kept)
        ledger.abandoned(reason)
        runs.put_away(ledger)
    finally:
        ledger.close()
    measured = sum(status in MEASURED for status in prewarming.done.values())
    told = f"{measured} of {len(prewarming.plan.bundles)} bundles were measured, and that is kept"
    return f"run {ledger.run_id}: a prewarm that did not end; {told}"
