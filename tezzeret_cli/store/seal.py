"""Turn a worker's payload into the files of a bundle, and list them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from tezzeret_cli.errors import WorkerError
from tezzeret_cli.model.manifest import Encoding, FileEntry

COMPRESSED = (".txt", ".log")
"""What a consumer does not need to open a bundle is kept compressed; libraries and tensors are mapped
or read at once within the load budget and stay as they are."""

_LEVEL = 9


def seal_files(folder: Path, payload: Sequence[str]) -> tuple[FileEntry, ...]:
    """Compress in place what ``COMPRESSED`` says and describe every file, by path.

    Files of the folder that the payload does not name are removed. Raises ``WorkerError`` when a
    payload path leaves the folder or is not a regular file.
    """
    entries = {path: _seal(folder, path) for path in payload}
    for directory, names, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(directory) / name
            if path.relative_to(folder).as_posix() not in entries:
                path.unlink()
        for name in names:
            child = Path(directory) / name
            if child.is_symlink():
                child.unlink()
            elif not any(child.iterdir()):
                child.rmdir()
    return tuple(entries[path] for path in sorted(entries))


def _seal(folder: Path, path: str) -> FileEntry:
    parts = path.split("/")
    if not path or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise WorkerError(f"the worker named a file outside its folder: {path!r}")
    for depth in range(1, len(parts)):
        if (folder / "/".join(parts[:depth])).is_symlink():
            raise WorkerError(f"the worker left a link in its folder: {path}")
    file = folder / path
    try:
        regular = stat.S_ISREG(file.lstat().st_mode)
    except OSError as error:
        raise WorkerError(f"the worker named a file that is not there: {path}") from error
    if not regular:
        raise WorkerError(f"the worker left something that is not a regular file: {path}")
    data = file.read_bytes()
    stored, encoding = data, Encoding.IDENTITY
    if file.suffix in COMPRESSED:
        import zstandard

        stored = zstandard.ZstdCompressor(level=_LEVEL).compress(data)
        encoding = Encoding.ZSTD
        file.write_bytes(stored)
    file.chmod(0o644)
    return FileEntry(path, len(data), hashlib.sha256(stored).hexdigest(), len(stored), encoding)
