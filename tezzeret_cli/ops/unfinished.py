"""Runs that did not end: list them, refuse to start beside them, give them up."""

from __future__ import annotations

import datetime
import enum
from pathlib import Path

import msgspec

from tezzeret_cli.errors import JournalDamagedError, JournalError, JournalLockedError, UnfinishedRunError
from tezzeret_cli.model.events import Notice, Observer
from tezzeret_cli.ops.environment import remove_scratch
from tezzeret_cli.runs.folder import Runs, age_s
from tezzeret_cli.runs.state import RunState
from tezzeret_cli.store.layout import explained
from tezzeret_cli.store.publish import keep_in_place
from tezzeret_cli.store.staging import remove_staged


class Life(enum.StrEnum):
    """``live``: a process is at it. ``dead``: it can be resumed. ``ended``: only its folder is still to be
    put away. ``damaged``: its journal cannot be trusted, or not be read."""

    LIVE = "live"
    DEAD = "dead"
    ENDED = "ended"
    DAMAGED = "damaged"


class RunSummary(msgspec.Struct, frozen=True):
    """One run that is not among the done. ``left`` are the ids of the blueprints to do, ``shard`` is such as
    ``2/8``; ``created`` is in ISO 8601; ``problem`` says in one line what is wrong with its journal."""

    run: str
    life: Life
    command: str = ""
    created: str = ""
    jobs: int = 0
    done: int = 0
    left: tuple[str, ...] = ()
    problem: str | None = None
    shard: str | None = None


def summaries(runs: Runs) -> list[RunSummary]:
    """All runs that are not among the done, oldest first. Reads only, and waits for nobody."""
    live = set(runs.live())
    found = []
    for run in sorted(runs.all_open()):
        try:
            state = runs.peek(run)
        except JournalError as error:
            found.append(RunSummary(run, Life.DAMAGED, problem=str(error)))
        else:
            found.append(_summary(run, state, run in live))
    return found


def _summary(run: str, state: RunState, live: bool) -> RunSummary:
    plan = state.plan
    if plan is None or state.ending is not None:
        return RunSummary(run, Life.LIVE if live else Life.ENDED)
    when = datetime.datetime.fromtimestamp(plan.created, datetime.UTC)
    return RunSummary(
        run=run,
        life=Life.LIVE if live else Life.DEAD,
        command=plan.command,
        created=when.isoformat(timespec="seconds"),
        jobs=len(plan.jobs),
        done=len(state.done),
        left=tuple(job.blueprint_id for job in state.left.values()),
        shard=str(plan.shard) if plan.shard else None,
    )


def refuse_unfinished(runs: Runs, store: str) -> None:
    """Raise ``UnfinishedRunError`` where a run on this store died and was neither resumed nor abandoned."""
    unfinished = runs.unfinished()
    if unfinished:
        raise UnfinishedRunError(
            f"store {store}: run {unfinished[0]} did not end",
            advice=f"finish it with: tezzeret resume --store {store} (or compile --resume), "
            f"or give it up with: tezzeret resume --store {store} --abandon {unfinished[0]}",
        )


def tidy(runs: Runs, ttl_s: float, observer: Observer, root: Path) -> None:
    """Put away dead runs that ended, and abandon those older than ``ttl_s`` seconds, on record.

    ``root`` is the store's folder. A run whose journal is damaged is left for a person. Raises
    ``JournalError``.
    """
    for run in runs.unfinished():
        try:
            state = runs.peek(run)
        except JournalError as error:
            observer.on_event(Notice("warning", f"run {run}: {error}"))
            continue
        if state.plan is None or state.ending is not None:
            _put_away(runs, run)
        elif (age := age_s(state.plan)) > ttl_s:
            reason = f"it is {age / 86400:.1f} days old, and {ttl_s / 86400:.1f} are allowed"
            abandon(runs, run, reason, root)
            observer.on_event(Notice("warning", f"run {run} was abandoned: too old"))


def _put_away(runs: Runs, run: str) -> None:
    try:
        ledger = runs.reopen(run)
    except JournalLockedError:
        return
    if ledger is not None:
        ledger.close()


def _keep_published(state: RunState, root: Path) -> None:
    """What a run had renamed into place when it died is durable there. Raises ``StoreError``."""
    with explained(root):
        for job in state.open.values():
            if job.staged and (root / job.staged.bundle).is_dir():
                keep_in_place(root / job.staged.bundle)


def abandon(runs: Runs, run: str, reason: str, root: Path) -> str | None:
    """Give a run up, on record; what it published on the store at ``root`` stays, its scratch and what it
    staged are removed.

    A run whose journal is damaged cannot be written to: it is set aside as it is, and where it is then is
    returned. Raises ``InputError`` for an unknown run, ``JournalLockedError`` for one that is alive.
    """
    try:
        ledger = runs.reopen(run)
    except JournalDamagedError:
        return runs.set_aside(run)
    if ledger is not None:
        try:
            _keep_published(ledger.state, root)
            ledger.abandoned(reason)
        except BaseException:
            ledger.close()
            raise
        plan = ledger.state.plan
        runs.put_away(ledger)
        remove_staged(root, run)
        if plan is not None:
            remove_scratch(Path(plan.options.cache), run)
    return None
