"""Staging folders: private to a run. What a killed one left there stays until it is resumed or abandoned."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Set
from pathlib import Path

from tezzeret_cli.files import lock_file, wait_for_lock
from tezzeret_cli.store.layout import STORE_FILE, TMP, Store, explained

PREFIX = "run-"
_LOCK = "run.lock"
_FOREIGN_AGE_S = 7 * 86400


class Staging:
    """The staging area of one run. Its lock is held as long as the run lives, so that another run can
    tell a live one from a dead one without asking for process ids."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._root = store.root
        self.path = store.tmp / f"{PREFIX}{run_id}"
        with explained(store.root):
            self.path.mkdir(exist_ok=True)
            self._lock = wait_for_lock(self.path / _LOCK)

    def folder(self, name: str) -> Path:
        """A new, empty folder, replacing one of that name."""
        folder = self.path / name
        with explained(self._root):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        return folder

    def close(self) -> None:
        """Remove everything and let go of the lock."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def remove_staged(root: Path, run: str) -> None:
    """Remove what a run of this host that ended left in the ``tmp/`` of the store at ``root``."""
    shutil.rmtree(root / TMP / f"{PREFIX}{run}", ignore_errors=True)


def sweep(store: Store, keep: Set[str], ended: Callable[[str], bool]) -> list[str]:
    """Remove what dead runs left in ``tmp/``; the names of what was removed. ``keep`` and ``ended`` as in
    ``left_behind``."""
    for draft in store.tmp.glob(f"{STORE_FILE}.*"):
        draft.unlink(missing_ok=True)
    return [folder.name for folder in left_behind(store.tmp, keep, ended) if remove_left_behind(folder)]


def left_behind(tmp: Path, keep: Set[str], ended: Callable[[str], bool]) -> Iterator[Path]:
    """The folders below ``tmp`` that no run needs.

    ``keep`` are this host's runs that did not end. One that is neither among them nor has ``ended`` may be
    another host's, alive where its lock cannot be seen, so its folder is left alone for a week.
    """
    for folder in sorted(tmp.glob(f"{PREFIX}*")):
        run = folder.name.removeprefix(PREFIX)
        if run not in keep and (ended(run) or _untouched(folder)):
            yield folder


def remove_left_behind(folder: Path) -> bool:
    """Remove a staging folder unless the run that made it turns out to be alive; whether it was removed."""
    try:
        lock = lock_file(folder / _LOCK)
    except OSError:
        return False
    if lock is None:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    return True


def _untouched(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > _FOREIGN_AGE_S
    except OSError:
        return False
