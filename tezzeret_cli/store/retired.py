"""The versions that were removed: a version number, once given out, never stands for another bundle."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tezzeret_cli.bundle.version import Version, parse
from tezzeret_cli.errors import StoreError
from tezzeret_cli.files import sync_folder, write_whole

RETIRED = "retired"


def retire(root: Path, blueprint_id: str, versions: Iterable[Version]) -> None:
    """Put on record, durably, that these versions are about to be removed. The caller holds the store's lock.
    Raises ``OSError`` and ``StoreError``."""
    known = _read(root, blueprint_id)
    changed = dict(known)
    for version in versions:
        last = parse(changed.get(version.lineage, ""))
        if last is None or last < version:
            changed[version.lineage] = str(version)
    if changed == known:
        return
    path = _path(root, blueprint_id)
    if not path.parent.is_dir():
        path.parent.mkdir(exist_ok=True)
        sync_folder(root)
    data = msgspec.json.encode(dict(sorted(changed.items()))) + b"\n"
    write_whole(path, data, draft=path.with_name(f".{path.name}"))


def retired(root: Path, blueprint_id: str, lineage: str) -> Version | None:
    """The highest version of a lineage that was removed on purpose. Raises ``OSError`` and ``StoreError``."""
    return parse(_read(root, blueprint_id).get(lineage, ""))


def unused(root: Path, blueprint_id: str, last: Version | None, wanted: Version) -> Version:
    """``wanted``, or the next version of its kind that was never given out. ``last`` is the newest bundle of
    the lineage, ``None`` where all are gone and nothing can be compared with them.

    Raises ``OSError`` and ``StoreError``.
    """
    gone = parse(_read(root, blueprint_id).get(wanted.lineage, ""))
    if gone is None or gone < wanted:
        return wanted
    if last is None or wanted.major > last.major:
        return Version(gone.major + 1, 0, 0, wanted.lineage)
    if wanted.minor > last.minor:
        return Version(gone.major, gone.minor + 1, 0, wanted.lineage)
    return Version(gone.major, gone.minor, gone.patch + 1, wanted.lineage)


def _path(root: Path, blueprint_id: str) -> Path:
    return root / RETIRED / f"{blueprint_id}.json"


def _read(root: Path, blueprint_id: str) -> dict[str, str]:
    path = _path(root, blueprint_id)
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise StoreError(f"{path}: damaged: {error}", advice="restore it from a backup") from error
