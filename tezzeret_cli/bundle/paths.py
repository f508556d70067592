"""The paths that a manifest may list: plain, below the bundle, and the same file on every filesystem."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tezzeret_cli.errors import DamagedBundleError

_PART = "[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,126}"
_SAFE = re.compile(rf"{_PART}(?:/{_PART}){{0,7}}")


def check_paths(paths: Iterable[str], reserved: Iterable[str], where: str) -> set[str]:
    """The folders that ``paths`` imply. Raises ``DamagedBundleError`` when one is absolute, leaves the
    bundle, is hidden or not plain ASCII, is ``reserved``, or differs from another or
    from a folder only by case."""
    seen = {name.lower() for name in reserved}
    folders: set[str] = set()
    for path in paths:
        if _SAFE.fullmatch(path) is None:
            raise DamagedBundleError(f"{where}: the manifest lists an unsafe path: {path[:200]!r}")
        folded = path.lower()
        if folded in seen:
            raise DamagedBundleError(f"{where}: the manifest lists two files as {path!r}")
        seen.add(folded)
        at = path.find("/")
        while at != -1:
            folders.add(path[:at])
            at = path.find("/", at + 1)
    lowered = {folder.lower() for folder in folders}
    if len(lowered) != len(folders) or lowered & seen:
        raise DamagedBundleError(f"{where}: the manifest lists a file and a folder, or two folders, as one")
    return folders
