"""Where things are in a store, and opening or making one."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tezzeret_cli.bundle.scan import BUNDLES
from tezzeret_cli.bundle.version import parse
from tezzeret_cli.errors import InputError, StoreError, StoreLockedError
from tezzeret_cli.files import Lock, lock_file, sync, sync_folder
from tezzeret_cli.wal.disk import Disk, make_folders

STORE_FORMAT = 1
_STORE_ID = re.compile(r"[0-9a-f]{32}")
STORE_FILE = "store.json"
TMP = "tmp"
LOCK = "publish.lock"
LOCK_WAIT_S = 60.0


class Identity(msgspec.Struct, frozen=True):
    """``store.json``: the format of the store, and a random id that never changes."""

    format: int
    store_id: str


class Store:
    """A store that exists. ``root`` holds ``bundles/``, ``tmp/``, ``store.json`` and a lock file."""

    def __init__(self, root: Path, identity: Identity) -> None:
        self.root = root
        self.identity = identity

    @property
    def tmp(self) -> Path:
        return self.root / TMP

    def bundle(self, blueprint_id: str, version: str) -> Path:
        return self.root / BUNDLES / blueprint_id / version

    @contextlib.contextmanager
    def publishing(self) -> Iterator[None]:
        """Hold the lock under which versions are given out. Raises ``StoreLockedError``, ``StoreError``."""
        lock = store_lock(self.root, LOCK)
        try:
            yield
        finally:
            lock.release()


def store_lock(root: Path, name: str) -> Lock:
    """The lock ``name`` of the store at ``root``. Raises ``StoreLockedError`` when another process holds it
    for too long, and ``StoreError``."""
    with explained(root):
        lock = lock_file(root / name, wait_s=LOCK_WAIT_S)
    if lock is None:
        raise StoreLockedError(
            f"{root}: another process has held {name} for {LOCK_WAIT_S:.0f} s",
            advice="wait for it to end, or look for a stopped process",
        )
    return lock


def open_store(root: Path) -> Store:
    """Open the store at ``root``, making it first where nothing is.

    Its identity is durable when this returns, whoever made it: journals are kept by it. Raises ``StoreError``
    when it cannot be made or written, or is of a newer format.
    """
    with explained(root):
        identity = read_identity(root)
        if identity is None:
            make_folders(Disk(), root)
        (root / BUNDLES).mkdir(exist_ok=True)
        (root / TMP).mkdir(exist_ok=True)
        identity = identity or _make_identity(root)
        if not os.access(root / TMP, os.W_OK) or not os.access(root / BUNDLES, os.W_OK):
            read_only = os.statvfs(root).f_flag & os.ST_RDONLY
            number = errno.EROFS if read_only else errno.EACCES
            raise OSError(number, os.strerror(number))
        sync_folder(root)
    return Store(root, identity)


def read_identity(root: Path) -> Identity | None:
    """The identity of an existing store, ``None`` where there is none. Raises ``StoreError``."""
    path = root / STORE_FILE
    try:
        with explained(root):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return None
        identity = msgspec.json.decode(data, type=Identity)
    except msgspec.DecodeError as error:
        raise StoreError(f"{path}: damaged: {error}", advice="restore it, or use another store") from error
    if identity.format > STORE_FORMAT:
        raise StoreError(
            f"{root}: the store is of format {identity.format}, this program knows {STORE_FORMAT}",
            advice="use a newer tezzeret",
        )
    if not _STORE_ID.fullmatch(identity.store_id):
        raise StoreError(f"{path}: damaged: no store id", advice="restore it, or use another store")
    return identity


def existing_identity(root: Path) -> Identity:
    """The identity of the store at ``root``. Raises ``InputError`` where there is none, ``StoreError``."""
    identity = read_identity(root)
    if identity is None:
        raise InputError(f"{root}: no store is there", advice="check the path, or that it is mounted")
    return identity


def store_of_bundle(bundle: Path) -> Path | None:
    """The store that a bundle's folder is published in. Raises ``StoreError``."""
    real = bundle.resolve()
    root = real.parents[2] if len(real.parents) > 2 else None
    if root is None or real.parents[1].name != BUNDLES or parse(real.name) is None:
        return None
    return root if read_identity(root) is not None else None


def _make_identity(root: Path) -> Identity:
    """A new identity, or the one that another process made meanwhile; a run of such a one removes drafts."""
    identity = Identity(STORE_FORMAT, secrets.token_hex(16))
    draft = root / TMP / f"{STORE_FILE}.{identity.store_id}"
    try:
        draft.write_bytes(msgspec.json.encode(identity) + b"\n")
        sync(draft)
        os.link(draft, root / STORE_FILE)
    except (FileExistsError, FileNotFoundError):
        known = read_identity(root)
        if known is None:
            raise
        return known
    finally:
        draft.unlink(missing_ok=True)
    return identity


def probe(folder: Path, count: int = 1 << 18) -> None:
    """Write ``count`` bytes below ``folder``, durably, and remove them. Raises ``OSError`` when the disk does
    not take them."""
    path = folder / f"probe-{secrets.token_hex(4)}"
    try:
        path.write_bytes(secrets.token_bytes(count))
        sync(path)
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def explained(root: Path, what: str = "store") -> Iterator[None]:
    """Turn what the system says about a folder into a ``StoreError`` with a remedy. ``what`` is the
    setting that names the folder: ``store`` or ``cache``."""
    try:
        yield
    except OSError as error:
        advice = {
            errno.ENOSPC: "free some space and run the command again",
            errno.EDQUOT: "raise the quota and run the command again",
            errno.EROFS: f"remount it writable, or give another --{what}",
            errno.EACCES: f"give a --{what} that you may write to",
            errno.EPERM: f"give a --{what} that you may write to",
            errno.ENOTDIR: f"give a folder as --{what}",
        }.get(error.errno or 0, f"check that the {what} is mounted and writable")
        raise StoreError(f"{what} {root}: {error.strerror or error}", advice=advice) from error
