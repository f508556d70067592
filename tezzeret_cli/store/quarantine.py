"""Put aside what is damaged: it is evidence, and it must not stand where readers look."""

from __future__ import annotations

from pathlib import Path

from tezzeret_cli.files import sync_folder
from tezzeret_cli.store.layout import Store, explained
from tezzeret_cli.store.publish import rename_no_replace

QUARANTINE = "quarantine"


def quarantine(store: Store, path: Path) -> str | None:
    """Move ``path`` of the store into ``quarantine/``; its new place relative to the store, ``None`` when
    nothing is at ``path``. Raises ``StoreError``."""
    with explained(store.root):
        folder = store.root / QUARANTINE
        folder.mkdir(exist_ok=True)
        name = path.relative_to(store.root).as_posix().replace("/", "~")
        attempt = 0
        while True:
            target = folder / (f"{name}.{attempt}" if attempt else name)
            try:
                rename_no_replace(path, target)
            except FileExistsError:
                attempt += 1
                continue
            except FileNotFoundError:
                return None
            sync_folder(folder)
            sync_folder(path.parent)
            return target.relative_to(store.root).as_posix()
