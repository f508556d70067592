"""Staging folders: private to a run, swept by the next one when the run is dead."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from tezzeret_cli.store.layout import Store, explained

_LOCK = "run.lock"


class Staging:
    """The staging area of one run. Its lock is held as long as the run lives, so that another run can
    tell a live one from a dead one without asking for process ids."""

    def __init__(self, store: Store) -> None:
        from filelock import FileLock

        self.path = store.tmp / f"run-{secrets.token_hex(8)}"
        with explained(store.root):
            self.path.mkdir()
            self._lock = FileLock(self.path / _LOCK, fallback_to_soft=False)
            self._lock.acquire()

    def folder(self, name: str) -> Path:
        """A new, empty folder, replacing one of that name."""
        folder = self.path / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def close(self) -> None:
        """Remove everything and let go of the lock."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def sweep(store: Store) -> list[str]:
    """Remove what dead runs left in ``tmp/``; the names of what was removed."""
    from filelock import FileLock, Timeout

    removed = []
    for folder in sorted(store.tmp.glob("run-*")):
        lock = FileLock(folder / _LOCK, fallback_to_soft=False)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        removed.append(folder.name)
    return removed
