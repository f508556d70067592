"""Whether a bundle is in use, and when it was used last: what the loader leaves for the garbage collector.

A load holds a shared lock on the bundle's folder while it reads the files, and sets the time of
``<store>/used/<blueprint id>/<version>``. Both are best effort and never fail a load; where the store cannot
be written, the time of publication counts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tezzeret_cli.bundle.read import MANIFEST
from tezzeret_cli.bundle.scan import BUNDLES
from tezzeret_cli.files import lock_folder

USED = "used"
_STORE_FILE = "store.json"


@contextlib.contextmanager
def in_use(bundle: str | os.PathLike[str]) -> Iterator[None]:
    """Keep a garbage collector of this host from removing ``bundle`` inside the block, and count as a use."""
    lock, there = None, True
    try:
        lock = lock_folder(bundle, shared=True)
    except (FileNotFoundError, NotADirectoryError):
        there = False
    except OSError:
        lock = None
    if there:
        touch(bundle)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def touch(bundle: str | os.PathLike[str]) -> None:
    """Set the time of a bundle's last use to now, if it is in a store that can be written."""
    mark = mark_of(os.path.realpath(bundle))
    if mark is None:
        return
    try:
        os.utime(mark)
    except FileNotFoundError:
        _make(mark)
    except OSError:
        return


def mark_of(bundle: str) -> str | None:
    """The file whose time is that of the last use; ``None`` for a folder that is in no store. ``bundle`` is
    an absolute path."""
    above, version = os.path.split(bundle)
    bundles, blueprint_id = os.path.split(above)
    root, name = os.path.split(bundles)
    return f"{root}/{USED}/{blueprint_id}/{version}" if name == BUNDLES else None


def last_use(bundle: str) -> float:
    """When the bundle was used or published last, in seconds since 1970. Raises ``OSError``."""
    published = os.stat(f"{bundle}/{MANIFEST}").st_mtime
    mark = mark_of(bundle)
    try:
        return max(published, os.stat(mark).st_mtime) if mark else published
    except OSError:
        return published


def _make(mark: str) -> None:
    with contextlib.suppress(OSError):
        folder = os.path.dirname(mark)
        if os.path.exists(f"{os.path.dirname(os.path.dirname(folder))}/{_STORE_FILE}"):
            os.makedirs(folder, exist_ok=True)
            os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666))
