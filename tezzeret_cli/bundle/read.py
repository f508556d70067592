"""Read a bundle directory without trusting it: manifest first, then exactly the files it lists."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import msgspec

from tezzeret_cli.errors import DamagedBundleError
from tezzeret_cli.model.manifest import FORMAT, Encoding, FileEntry, Manifest

MANIFEST = "manifest.json"
SIGNATURE = "bundle.sigstore.json"
MANIFEST_LIMIT = 16 << 20
"""No manifest is larger than this many bytes; a bigger file is refused unread."""

FILE_LIMIT = 4 << 30

_DECODER = msgspec.json.Decoder(Manifest)
hashlib.sha256()  # OpenSSL sets itself up with the first digest; a load should not pay for that


class _FormatOnly(msgspec.Struct):
    format: int = 0


def read_manifest(bundle: Path) -> tuple[Manifest, bytes]:
    """The manifest of a bundle directory and its exact bytes.

    Raises ``DamagedBundleError`` when it is missing, too large, not a regular file, does not decode, or
    is of a newer format.
    """
    path = bundle / MANIFEST
    data = _read_regular(path, MANIFEST_LIMIT)
    try:
        number = msgspec.json.decode(data, type=_FormatOnly).format
        if number > FORMAT:
            raise DamagedBundleError(
                f"{path}: format {number} is newer than this program's {FORMAT}",
                advice="read it with a newer tezzeret",
            )
        return _DECODER.decode(data), data
    except msgspec.DecodeError as error:
        raise DamagedBundleError(f"{path}: not a manifest: {error}") from error


def read_files(bundle: Path, manifest: Manifest) -> dict[str, bytes]:
    """The stored bytes of every listed file, each checked against its size and sha256.

    Nothing is inflated. Raises ``DamagedBundleError`` when a file is missing, added, not regular, or
    differs.
    """
    listed = {entry.path for entry in manifest.files}
    try:
        present = _present(os.fspath(bundle))
    except OSError as error:
        raise DamagedBundleError(f"{bundle}: cannot be read: {error.strerror}") from error
    unexpected = sorted(present - listed - {MANIFEST, SIGNATURE})
    if unexpected:
        raise DamagedBundleError(f"{bundle}: holds a file that its manifest does not list: {unexpected[0]}")
    return {entry.path: _checked(bundle, entry) for entry in manifest.files}


def inflate(entry: FileEntry, stored: bytes) -> bytes:
    """The original bytes of a checked file. Raises ``DamagedBundleError`` when the size is not as listed."""
    if entry.encoding is Encoding.IDENTITY:
        return stored
    import zstandard

    try:
        frame = zstandard.get_frame_parameters(stored)
        if frame.content_size != entry.size:
            raise DamagedBundleError(f"{entry.path}: inflates to another size than listed")
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        data = decompressor.decompress(stored)
    except zstandard.ZstdError as error:
        raise DamagedBundleError(f"{entry.path}: damaged zstd frame: {error}") from error
    if len(data) != entry.size or not decompressor.eof or decompressor.unused_data:
        raise DamagedBundleError(f"{entry.path}: inflates to another size than listed")
    return data


def _present(folder: str, prefix: str = "") -> set[str]:
    """Everything below ``folder`` that is not a real folder, as paths relative to the bundle."""
    found = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found |= _present(entry.path, f"{prefix}{entry.name}/")
            else:
                found.add(f"{prefix}{entry.name}")
    return found


def _checked(bundle: Path, entry: FileEntry) -> bytes:
    parts = entry.path.split("/")
    if entry.path.startswith("/") or "\\" in entry.path or any(part in ("", ".", "..") for part in parts):
        raise DamagedBundleError(f"{bundle}: the manifest lists an unsafe path: {entry.path!r}")
    if entry.stored_size > FILE_LIMIT or entry.size > FILE_LIMIT:
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
    """At most ``limit`` bytes of a regular file, opened without following a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise DamagedBundleError(f"{path}: cannot be opened: {error.strerror}") from error
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedBundleError(f"{path}: not a regular file")
        if status.st_size > limit:
            raise DamagedBundleError(f"{path}: larger than the {limit} bytes allowed")
        data = file.read(limit + 1)
    return data if data is not None else b""
