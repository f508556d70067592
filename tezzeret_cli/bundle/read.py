"""Read a bundle directory without trusting it: manifest first, then exactly the files it lists."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import msgspec

from tezzeret_cli.bundle.paths import check_paths
from tezzeret_cli.bundle.strict import decode_strict
from tezzeret_cli.errors import DamagedBundleError
from tezzeret_cli.model.manifest import FORMAT, Encoding, FileEntry, Manifest

MANIFEST = "manifest.json"
SIGNATURE = "bundle.sigstore.json"
MANIFEST_LIMIT = 16 << 20
"""No manifest is larger than this many bytes; a bigger file is refused unread."""

SIGNATURE_LIMIT = 1 << 20
FILE_LIMIT = 4 << 30
INFLATED_LIMIT = 64 << 20
"""No compressed file (text for people) inflates to more than this many bytes."""

_EMPTY_FRAME = bytes.fromhex("28b52ffd2000010000")
_DECODER = msgspec.json.Decoder(Manifest)
hashlib.sha256()  # OpenSSL sets itself up with the first digest; a load should not pay for that


class _FormatOnly(msgspec.Struct):
    format: int = 0


def read_manifest(bundle: Path) -> tuple[Manifest, bytes]:
    """The manifest of a bundle directory and its exact bytes.

    Raises ``DamagedBundleError`` when it is missing, too large, not a regular file, says anything twice or
    anything that this version does not know, or is of a newer format.
    """
    path = bundle / MANIFEST
    data = _read_regular(path, MANIFEST_LIMIT)
    try:
        number = msgspec.json.decode(data, type=_FormatOnly).format
    except (ValueError, RecursionError) as error:
        raise DamagedBundleError(f"{path}: not a manifest: {error}") from error
    if number > FORMAT:
        raise DamagedBundleError(
            f"{path}: format {number} is newer than this program's {FORMAT}",
            advice="read it with a newer tezzeret",
        )
    return decode_strict(data, _DECODER, f"{path}: not a manifest", DamagedBundleError), data


def read_signature(bundle: Path) -> bytes | None:
    """The bytes of the signature file, ``None`` when there is none. Raises ``DamagedBundleError`` for what is
    not a regular file of reasonable size."""
    try:
        return _read_regular(bundle / SIGNATURE, SIGNATURE_LIMIT)
    except DamagedBundleError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def read_files(bundle: Path, manifest: Manifest) -> dict[str, bytes]:
    """The stored bytes of every listed file, each checked against its size and sha256.

    Nothing is inflated. Raises ``DamagedBundleError`` when a file or folder is missing, added, linked, not
    regular, or differs; the signature file is expected where the manifest names it.
    """
    where = os.fspath(bundle)
    paths = [entry.path for entry in manifest.files]
    folders = check_paths(paths, (MANIFEST, SIGNATURE), where)
    if manifest.signature not in (None, SIGNATURE):
        raise DamagedBundleError(f"{bundle}: its manifest names another signature file than {SIGNATURE}")
    listed = {*paths, *(f"{folder}/" for folder in folders), MANIFEST}
    if manifest.signature is not None:
        listed.add(SIGNATURE)
    try:
        present = _present(where)
    except (OSError, RecursionError) as error:
        raise DamagedBundleError(f"{bundle}: cannot be read: {error}") from error
    if present != listed:
        unexpected = sorted(present - listed)
        if unexpected:
            raise DamagedBundleError(
                f"{bundle}: holds a file that its manifest does not list: {unexpected[0]!a}"
            )
        if SIGNATURE in listed - present:
            raise DamagedBundleError(f"{bundle}: its signature file {SIGNATURE} is missing")
    return {entry.path: _checked(bundle, entry) for entry in manifest.files}


def inflate(entry: FileEntry, stored: bytes) -> bytes:
    """The original bytes of a checked file: exactly one whole frame. Raises ``DamagedBundleError`` when the
    size is not as listed, or is more than ``INFLATED_LIMIT``; at most that much is ever held."""
    if entry.encoding is Encoding.IDENTITY:
        if entry.size != len(stored):
            raise DamagedBundleError(f"{entry.path}: another size than listed")
        return stored
    import zstandard

    try:
        frame = zstandard.get_frame_parameters(stored)
        if frame.content_size != entry.size:
            raise DamagedBundleError(f"{entry.path}: inflates to another size than listed")
        if entry.size > INFLATED_LIMIT or frame.window_size > INFLATED_LIMIT:
            raise DamagedBundleError(f"{entry.path}: inflates to more than {INFLATED_LIMIT >> 20} MiB")
        if entry.size == 0:
            # The library hands back an empty frame without a look at the rest of it.
            if stored != _EMPTY_FRAME:
                raise DamagedBundleError(f"{entry.path}: damaged zstd frame")
            return b""
        data = zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
    except (zstandard.ZstdError, ValueError) as error:
        raise DamagedBundleError(f"{entry.path}: damaged zstd frame: {error}") from error
    if len(data) != entry.size:
        raise DamagedBundleError(f"{entry.path}: inflates to another size than listed")
    return data


def _present(folder: str, prefix: str = "") -> set[str]:
    """Everything below ``folder``, as paths relative to the bundle; those of real folders end in a slash."""
    found = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                found.add(f"{name}/")
                found |= _present(entry.path, f"{name}/")
            else:
                found.add(name)
    return found


def _checked(bundle: Path, entry: FileEntry) -> bytes:
    if not (0 <= entry.stored_size <= FILE_LIMIT and 0 <= entry.size <= FILE_LIMIT):
        raise DamagedBundleError(f"{bundle}: {entry.path} claims an impossible size")
    data = _read_regular(bundle / entry.path, entry.stored_size)
    if len(data) != entry.stored_size:
        raise DamagedBundleError(
            f"{bundle / entry.path}: {len(data)} bytes where {entry.stored_size} are listed"
        )
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise DamagedBundleError(f"{bundle / entry.path}: its sha256 differs from the manifest")
    return data


def _read_regular(path: Path, limit: int) -> bytes:
    """At most ``limit`` bytes of a regular file that has one name, opened without following a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise DamagedBundleError(f"{path}: cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise DamagedBundleError(f"{str(path)!a}: cannot be opened: {error}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedBundleError(f"{path}: not a regular file")
        if status.st_nlink > 1:
            raise DamagedBundleError(
                f"{path}: the file has a second name, through which it could change",
                advice="copy the bundle without hard links",
            )
        if status.st_size > limit:
            raise DamagedBundleError(f"{path}: larger than the {limit} bytes allowed")
        return _read_all(descriptor, status.st_size)
    except OSError as error:
        raise DamagedBundleError(f"{path}: cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, size: int) -> bytes:
    """Everything in the file, ``size`` bytes and one more at most: a read may give less than it was asked."""
    parts = []
    left = size + 1
    while left > 0 and (part := os.read(descriptor, left)):
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
