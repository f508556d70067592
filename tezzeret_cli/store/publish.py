"""Make a staged bundle visible: everything durable first, then one rename that replaces nothing."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from tezzeret_cli.bundle.canonical import canonical
from tezzeret_cli.bundle.read import MANIFEST, SIGNATURE
from tezzeret_cli.bundle.version import Version, next_version, parse
from tezzeret_cli.files import sync, sync_folder, write_whole
from tezzeret_cli.model.manifest import Manifest, Signing
from tezzeret_cli.store.catalogue import Catalogue
from tezzeret_cli.store.layout import Store, explained
from tezzeret_cli.store.retired import unused
from tezzeret_cli.trust.signer import Signer

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
AboutTo = Callable[[Manifest, str], None]
_libc = ctypes.CDLL(None, use_errno=True)


def publish(store: Store, staged: Path, draft: Manifest, about_to: AboutTo, signer: Signer) -> Manifest:
    """Publish the folder ``staged`` and return its manifest with the version it got.

    ``draft`` is the manifest but for its version, which is decided here under the store's lock, and for how
    it is signed. A bundle that is to be signed is never visible without its signature.
    ``about_to`` is told the manifest and its sha256 when the bundle is durable where it was staged, right
    before the rename that makes it visible. When this returns the bundle is durable where it belongs; when
    it raises, ``staged`` is where it was and no reader sees anything, but for an error after the rename.
    Raises ``StoreError``, ``StoreLockedError`` and ``SigningError``.
    """
    with store.publishing(), explained(store.root):
        newest = Catalogue(store.root, {draft.blueprint_id}).newest(draft.blueprint_id, draft.lineage)
        last = parse(newest.version) if newest else None
        version = unused(store.root, draft.blueprint_id, last, next_version(newest, draft))
        while True:
            manifest = msgspec.structs.replace(
                draft,
                version=str(version),
                signature=None if signer.how is Signing.NONE else SIGNATURE,
                signing=signer.how,
            )
            digest = _write_signed(staged, manifest, signer)
            sync_tree(staged)
            sync_folder(staged.parent)
            about_to(manifest, digest)
            target = store.bundle(draft.blueprint_id, str(version))
            try:
                move_into_place(staged, target)
            except FileExistsError:
                version = Version(version.major, version.minor, version.patch + 1, version.lineage)
                continue
            return manifest


def move_into_place(staged: Path, target: Path) -> None:
    """Rename a durable staged bundle to where readers find it, durably. Raises ``FileExistsError`` when
    something is there, and ``OSError``."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sync_folder(target.parent.parent)
    rename_no_replace(staged, target)
    sync_folder(target.parent)
    sync_folder(staged.parent)


def keep_in_place(bundle: Path) -> None:
    """Make it durable that a bundle is where it is: a process may have died between its rename and that.
    Raises ``OSError``."""
    sync_folder(bundle.parent)


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Write ``manifest.json`` by rename, so that it is whole wherever it is; its sha256 in hex."""
    data = canonical(manifest)
    _write(folder, MANIFEST, data)
    return hashlib.sha256(data).hexdigest()


def _write_signed(folder: Path, manifest: Manifest, signer: Signer) -> str:
    """Write the signature, then the manifest that names it; the manifest's sha256 in hex."""
    signature = signer.sign(manifest, canonical(manifest))
    if signature is not None:
        _write(folder, SIGNATURE, signature)
    return write_manifest(folder, manifest)


def _write(folder: Path, name: str, data: bytes) -> None:
    write_whole(folder / name, data, draft=folder / f".{name}", durable=False)


def sync_tree(folder: Path) -> None:
    """Make every file and folder below ``folder`` durable, the deepest first."""
    for directory, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(directory) / name)
        sync_folder(Path(directory))


def rename_no_replace(source: Path, target: Path) -> None:
    """Rename a folder; ``FileExistsError`` when something is at ``target``, an empty folder included.

    Where the filesystem knows no such rename, a plain one, which refuses a folder with content.
    """
    done = _libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE)
    if done == 0:
        return
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        source.rename(target)
        return
    raise OSError(number, os.strerror(number), str(source))
