"""Sizes and times of what is in a store or a cache. Reading only; what vanishes meanwhile is nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator


def tree_bytes(folder: str) -> int:
    """The bytes of all files below ``folder``, or of the file that it is."""
    total = 0
    pending = [folder]
    while pending:
        path = pending.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += _bytes(entry)
        except NotADirectoryError:
            total += os.lstat(path).st_size
        except FileNotFoundError:
            continue
    return total


def entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """What is in ``folder``, by name; nothing where it is not there."""
    try:
        with os.scandir(folder) as found:
            listed = sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from listed


def touched(entry: os.DirEntry[str]) -> float:
    """When it was read or written last, in seconds since 1970; infinity when it is gone. How well reading is
    recorded depends on the mount: with ``relatime``, to a day."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return float("inf")
    return max(status.st_atime, status.st_mtime)


def _bytes(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
