"""Verify a bundle folder as a whole: who signed it, that it is what it says, and every byte of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from tezzeret_cli.bundle.canonical import is_guard_digest
from tezzeret_cli.bundle.read import Stored, inflate, read_files, read_manifest, read_signature
from tezzeret_cli.bundle.scan import BUNDLES
from tezzeret_cli.bundle.target import mismatch
from tezzeret_cli.bundle.version import lineage, parse
from tezzeret_cli.errors import DamagedBundleError, UntrustedBundleError
from tezzeret_cli.model.manifest import Encoding, Manifest
from tezzeret_cli.trust.policy import Policy, SignedBy


class Verified(msgspec.Struct, frozen=True):
    """A bundle that may be opened. ``data`` are the manifest's exact bytes, ``files`` the stored bytes of
    every listed file; both are what was hashed, so nothing is read again."""

    manifest: Manifest
    data: bytes
    files: dict[str, Stored]
    signed_by: SignedBy


class Expected(msgspec.Struct, frozen=True):
    """What the caller knows beforehand: blueprint id, version (with or without its lineage), and the sha256
    of the manifest in hex."""

    blueprint_id: str | None = None
    version: str | None = None
    sha256: str | None = None


class Origin(msgspec.Struct, frozen=True):
    """A manifest that is believed. Nothing else of the bundle has been read."""

    manifest: Manifest
    data: bytes
    signed_by: SignedBy


def read_origin(bundle: Path, policy: Policy) -> Origin:
    """The manifest of a bundle, if ``policy`` believes its signature and it stands where it belongs.

    Raises ``DamagedBundleError`` and ``UntrustedBundleError``.
    """
    manifest, data = read_manifest(bundle)
    signed_by = policy.verify(manifest, data, read_signature(bundle))
    _check_place(bundle, manifest)
    return Origin(manifest, data, signed_by)


def verify_bundle(bundle: Path, policy: Policy, expected: Expected | None = None) -> Verified:
    """Everything about a bundle that can be told without running it.

    Signature, statement, place, version, lineage, expectations, target (of this machine: only that it is a
    sensible one is checked), guard digest, the exact set of files, their sizes and hashes, and that what is
    compressed inflates to what is listed. Raises ``DamagedBundleError`` and ``UntrustedBundleError``.
    """
    origin = read_origin(bundle, policy)
    manifest = origin.manifest
    if expected is not None:
        check_expected(origin, expected)
    _check_version(manifest)
    try:
        known = is_guard_digest(manifest.guard_digest, manifest.guard_spec)
    except (ValueError, RecursionError) as error:
        raise DamagedBundleError(f"{bundle}: its guards have no canonical form: {error}") from error
    if not known:
        raise DamagedBundleError(f"{bundle}: its guard_digest is not that of its guards")
    files = read_files(bundle, manifest)
    for entry in manifest.files:
        if entry.encoding is not Encoding.IDENTITY or entry.size != entry.stored_size:
            inflate(entry, files[entry.path])
    return Verified(manifest, origin.data, files, origin.signed_by)


def check_expected(origin: Origin, expected: Expected) -> None:
    """Raise ``UntrustedBundleError`` when it is another bundle than expected."""
    manifest = origin.manifest
    if expected.blueprint_id not in (None, manifest.blueprint_id):
        raise UntrustedBundleError(
            f"it is of {manifest.blueprint_id!a}, expected is {expected.blueprint_id!a}"
        )
    if expected.version not in (None, manifest.version, manifest.version.partition("+")[0]):
        raise UntrustedBundleError(f"it is version {manifest.version!a}, expected is {expected.version!a}")
    if expected.sha256 is None:
        return
    sha256 = hashlib.sha256(origin.data).hexdigest()
    if expected.sha256.lower() != sha256:
        raise UntrustedBundleError(f"its manifest has sha256 {sha256}, expected is {expected.sha256!a}")


def runs_here(manifest: Manifest) -> str | None:
    """Why this machine cannot run the bundle, ``None`` when it can; a fallback runs anywhere."""
    return None if manifest.eager_fallback else mismatch(manifest.target)


def _check_place(bundle: Path, manifest: Manifest) -> None:
    """In a store, folders say which bundle is expected: the one of another blueprint, or an older one,
    is not."""
    *_, root, blueprint_id, version = ("", "", *os.path.abspath(bundle).split("/"))
    if root != BUNDLES or parse(version) is None:
        return
    if (manifest.blueprint_id, manifest.version) != (blueprint_id, version):
        raise UntrustedBundleError(
            f"{bundle}: it is {manifest.blueprint_id[:99]!a} {manifest.version[:99]!a}, not what belongs here"
        )


def _check_version(manifest: Manifest) -> None:
    version = parse(manifest.version)
    if manifest.descriptor.blueprint_id != manifest.blueprint_id:
        raise DamagedBundleError("its manifest names two blueprints")
    if version is None or version.lineage != manifest.lineage:
        raise DamagedBundleError("its version is not one of its lineage")
    if lineage(manifest.parameters, manifest.target) != manifest.lineage:
        raise DamagedBundleError("its lineage is not that of its parameters and target")
