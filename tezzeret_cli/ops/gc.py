"""The garbage collection: mark, put on record, look again, remove.

A bundle goes by one rename out of the readers' sight, and is taken apart afterwards, so that a store is whole
wherever this stops. What is left then is removed by the next one, or by the next compile.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tezzeret_cli.bundle.scan import published
from tezzeret_cli.bundle.use import last_use, mark_of
from tezzeret_cli.bundle.version import Version, parse
from tezzeret_cli.errors import StoreLockedError
from tezzeret_cli.files import Lock, lock_file, lock_folder, sync_folder
from tezzeret_cli.model.collect import GcPlan, GcReport, Item, Kept, Kind
from tezzeret_cli.ops.gc_mark import Marked, Needs, mark
from tezzeret_cli.ops.gc_policy import Bundle
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.store.layout import Store, explained
from tezzeret_cli.store.publish import rename_no_replace
from tezzeret_cli.store.retired import retire
from tezzeret_cli.store.samples import path_of
from tezzeret_cli.store.staging import Staging, remove_left_behind

REPORT_SCHEMA = 1
LOCK = "gc.lock"
BATCH = 64
"""So many are put on record, and then removed, at a time."""

OnItem = Callable[[Item], None]


def would_collect(root: Path, runs: Runs, plan: GcPlan) -> GcReport:
    """What ``collect`` would do now. Writes nothing. Raises ``InputError`` and ``StoreError``."""
    with explained(root):
        marked = mark(root, runs, Path(plan.cache), plan.rules, plan.created)
    return _report(marked, marked.items, marked.kept, [], None, dry_run=True)


def collect(store: Store, runs: Runs, plan: GcPlan, on_item: OnItem = lambda item: None) -> GcReport:
    """Remove what the rules of ``plan`` say, and report. What was used since it was marked stays.

    Every item is on record before it goes. Raises ``InputError`` when nothing was removed yet,
    ``StoreLockedError`` when another collection is at work, ``StoreError`` and ``JournalError``.
    """
    with _alone(store):
        with explained(store.root):
            marked = mark(store.root, runs, Path(plan.cache), plan.rules, plan.created)
        if not marked.items:
            return _report(marked, [], marked.kept, [], None)
        ledger = runs.begin(plan)
        try:
            sweep = _Sweep(store, runs, Staging(store, ledger.run_id), Path(plan.cache), on_item)
            try:
                for batch in _batches(marked.items):
                    ledger.marked(batch)
                    sweep.remove(batch)
            finally:
                sweep.staging.close()
            freed = sum(item.bytes for item in sweep.removed)
            ledger.collected(Counter(item.kind.value for item in sweep.removed), freed)
            runs.put_away(ledger)
        finally:
            ledger.close()
        return _report(marked, sweep.removed, marked.kept + sweep.kept, sweep.failed, ledger.run_id)


class _Sweep:
    """Removes what was marked; ``removed``, ``kept`` and ``failed`` say what became of it."""

    def __init__(self, store: Store, runs: Runs, staging: Staging, cache: Path, on_item: OnItem) -> None:
        self.removed: list[Item] = []
        self.kept: list[Kept] = []
        self.failed: list[Kept] = []
        self.staging = staging
        self._store = store
        self._runs = runs
        self._cache = cache
        self._on_item = on_item

    def remove(self, batch: Sequence[Item]) -> None:
        """Remove a batch of one kind, and for the cache of one folder."""
        match batch[0].kind:
            case Kind.BUNDLE:
                self._bundles(batch)
            case Kind.CACHE:
                with self._locked(Path(batch[0].path).parent.parent, batch) as alone:
                    for item in batch if alone else ():
                        self._cache_file(item)
            case _:
                for item in batch:
                    self._one(item)

    def _one(self, item: Item) -> None:
        path = Path(item.path)
        match item.kind:
            case Kind.STAGING if path.is_dir():
                if remove_left_behind(path):
                    self._gone(item)
                else:
                    self._stays(item, "a run is using it, or its lock cannot be taken")
            case Kind.SCRATCH:
                with self._locked(path, [item]) as alone:
                    if alone:
                        self._take_apart(item)
            case Kind.JOURNAL:
                self._runs.drop(path.name)
                self._gone(item)
            case _:
                self._take_apart(item)

    def _bundles(self, batch: Sequence[Item]) -> None:
        needs = Needs(self._runs)
        locks: list[Lock] = []
        moved: list[tuple[Item, Path]] = []
        try:
            with self._store.publishing(), explained(self._store.root):
                going = [item for item in batch if self._still_unused(item, needs, locks)]
                self._retire(going)
                for item in going:
                    target = self.staging.path / f"{len(self.removed) + len(moved)}"
                    rename_no_replace(Path(item.path), target)
                    moved.append((item, target))
                sync_folder(self.staging.path)
                for folder in sorted({Path(item.path).parent for item in going}):
                    sync_folder(folder)
                    with contextlib.suppress(OSError):
                        folder.rmdir()
        finally:
            for lock in locks:
                lock.release()
        for item, target in moved:
            problem = _take_apart(target)
            if problem:
                self.failed.append(Kept(str(target), problem))
            self._forget(item)
            self._gone(item)

    def _still_unused(self, item: Item, needs: Needs, locks: list[Lock]) -> bool:
        """Look again. Where it is still unused its folder is locked, so that no load begins any more."""
        path = Path(item.path)
        try:
            lock = lock_folder(path)
            used = last_use(item.path)
        except FileNotFoundError:
            return self._stays(item, "it is gone")
        except OSError:
            lock, used = Lock(-1), last_use(item.path)
        if lock is None:
            return self._stays(item, "a process is loading it")
        locks.append(lock)
        if used != item.used:
            return self._stays(item, "it was used meanwhile")
        version = parse(path.name)
        assert version is not None
        needed = needs.why(Bundle(path.parent.name, version, item.path, used, item.bytes))
        return self._stays(item, needed) if needed else True

    def _retire(self, going: Sequence[Item]) -> None:
        """Keep in mind the version of every lineage that loses its newest bundle."""
        leaving: dict[str, dict[str, Version]] = {}
        for item in going:
            path = Path(item.path)
            version = parse(path.name)
            assert version is not None
            newest = leaving.setdefault(path.parent.name, {})
            newest[version.lineage] = max(version, newest.get(version.lineage, version))
        names = {item.path for item in going}
        for blueprint_id, newest in leaving.items():
            for other in published(self._store.root, blueprint_id):
                last = newest.get(other.version.lineage)
                if last is not None and str(other.path) not in names and last < other.version:
                    del newest[other.version.lineage]
            retire(self._store.root, blueprint_id, newest.values())

    def _forget(self, item: Item) -> None:
        """Remove the notes on a bundle that is gone."""
        path = Path(item.path)
        mark = mark_of(item.path)
        notes = [path_of(self._store.root, path.parent.name, path.name), *([Path(mark)] if mark else [])]
        with explained(self._store.root):
            for note in notes:
                note.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    note.parent.rmdir()

    def _cache_file(self, item: Item) -> None:
        try:
            status = os.lstat(item.path)
        except FileNotFoundError:
            self._stays(item, "it is gone")
            return
        if max(status.st_atime, status.st_mtime) > item.used:
            self._stays(item, "it was used meanwhile")
        else:
            self._take_apart(item)

    def _take_apart(self, item: Item) -> None:
        problem = _take_apart(Path(item.path))
        if problem:
            self.failed.append(Kept(item.path, problem))
        else:
            self._gone(item)

    def _gone(self, item: Item) -> None:
        self.removed.append(item)
        self._on_item(item)

    def _stays(self, item: Item, reason: str) -> bool:
        self.kept.append(Kept(item.path, reason))
        return False

    @contextlib.contextmanager
    def _locked(self, folder: Path, batch: Sequence[Item]) -> Iterator[bool]:
        """Whether ``folder`` is had alone inside the block; if not, why the batch stays is noted."""
        reason = "a run is using it"
        try:
            lock = lock_folder(folder)
        except OSError as error:
            lock, reason = None, f"its folder cannot be locked: {error.strerror}"
        if lock is None:
            for item in batch:
                self._stays(item, reason)
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


def _take_apart(path: Path) -> str | None:
    """Remove a file or a folder with all that is in it; why that failed, in one line."""
    problems: list[str] = []

    def note(_: object, name: str, error: tuple[object, BaseException, object]) -> None:
        if not isinstance(error[1], FileNotFoundError):
            problems.append(f"{name}: {getattr(error[1], 'strerror', error[1])}")

    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, onerror=note)
        else:
            path.unlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{path}: {error.strerror}"
    return problems[0] if problems else None


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Runs of items of one kind (of the cache, in one of its folders), ``BATCH`` at most."""
    batch: list[Item] = []
    for item in items:
        if batch and (len(batch) >= BATCH or _group(batch[0]) != _group(item)):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _group(item: Item) -> tuple[Kind, str]:
    return item.kind, str(Path(item.path).parent.parent) if item.kind is Kind.CACHE else ""


@contextlib.contextmanager
def _alone(store: Store) -> Iterator[None]:
    with explained(store.root):
        lock = lock_file(store.root / LOCK)
    if lock is None:
        raise StoreLockedError(f"{store.root}: another gc is at work on it", advice="wait for it to end")
    try:
        yield
    finally:
        lock.release()


def _report(
    marked: Marked,
    removed: Sequence[Item],
    kept: Sequence[Kept],
    failed: Sequence[Kept],
    run: str | None,
    *,
    dry_run: bool = False,
) -> GcReport:
    planned = sum(item.bytes for item in marked.items if item.kind is Kind.BUNDLE)
    gone = sum(item.bytes for item in removed if item.kind is Kind.BUNDLE)
    return GcReport(
        schema=REPORT_SCHEMA,
        dry_run=dry_run,
        removed=tuple(removed),
        kept=tuple(kept),
        failed=tuple(failed),
        freed_bytes=sum(item.bytes for item in removed),
        bundle_bytes=marked.bundle_bytes + planned - gone,
        run=run,
    )
