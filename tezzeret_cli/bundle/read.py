"""Read a bundle directory without trusting it: manifest first, then exactly the files it lists."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from tezzeret_cli.bundle.paths import check_paths
from tezzeret_cli.bundle.strict import decode_strict, nearly_canonical
from tezzeret_cli.errors import DamagedBundleError
from tezzeret_cli.model.manifest import FORMAT, Encoding, FileEntry, Manifest

if TYPE_CHECKING:
    from zstandard import ZstdDecompressor

T = TypeVar("T")
MANIFEST = "manifest.json"
SIGNATURE = "bundle.sigstore.json"
MANIFEST_LIMIT = 16 << 20
"""No manifest is larger than this many bytes; a bigger file is refused unread."""

SIGNATURE_LIMIT = 1 << 20
FILE_LIMIT = 4 << 30
INFLATED_LIMIT = 64 << 20
"""No compressed file (text for people) inflates to more than this many bytes."""

Stored = bytes | memoryview
"""The bytes of a file as they are on disk."""

_EMPTY_FRAME = bytes.fromhex("28b52ffd2000010000")
_DECODER = msgspec.json.Decoder(Manifest)
_thread = threading.local()
hashlib.sha256()  # OpenSSL sets itself up with the first digest; a load should not pay for that


class _FormatOnly(msgspec.Struct):
    format: int = 0


def read_manifest(bundle: Path) -> tuple[Manifest, bytes]:
    """The manifest of a bundle directory and its exact bytes.

    Raises ``DamagedBundleError`` when it is missing, too large, not a regular file, says anything twice or
    anything that this version does not know, or is of a newer format.
    """
    path = os.path.join(bundle, MANIFEST)
    try:
        data = _read_regular(path, MANIFEST_LIMIT, _read_all)
    except DamagedBundleError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            error.advice = "give the folder of one bundle, as find() does"
        raise
    try:
        manifest = decode_strict(
            data, _DECODER, f"{path}: not a manifest", DamagedBundleError, nearly_canonical
        )
    except DamagedBundleError:
        _check_format(data, path)
        raise
    if manifest.format != FORMAT:
        _check_format(data, path)
    return manifest, data


def _check_format(data: bytes, path: str) -> None:
    """Raise ``DamagedBundleError`` when ``data`` says that it is of a newer format."""
    try:
        number = msgspec.json.decode(data, type=_FormatOnly).format
    except (ValueError, RecursionError):
        return
    if number > FORMAT:
        raise DamagedBundleError(
            f"{path}: format {number} is newer than this program's {FORMAT}",
            advice="read it with a newer tezzeret",
        )


def read_signature(bundle: Path) -> bytes | None:
    """The bytes of the signature file, ``None`` when there is none. Raises ``DamagedBundleError`` for what is
    not a regular file of reasonable size."""
    try:
        return _read_regular(os.path.join(bundle, SIGNATURE), SIGNATURE_LIMIT, _read_all)
    except DamagedBundleError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def read_files(bundle: Path, manifest: Manifest, writable: Collection[str] = ()) -> dict[str, Stored]:
    """The stored bytes of every listed file, each checked against its size and sha256.

    Nothing is inflated. Those of ``writable`` paths are in memory that the caller may keep and write to.
    Raises ``DamagedBundleError`` when a file or folder is missing, added, linked, not
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
    return {entry.path: _checked(where, entry, entry.path in writable) for entry in manifest.files}


def inflate(entry: FileEntry, stored: Stored) -> Stored:
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
        data = _inflater().decompress(stored, allow_extra_data=False)
    except (zstandard.ZstdError, ValueError) as error:
        raise DamagedBundleError(f"{entry.path}: damaged zstd frame: {error}") from error
    if len(data) != entry.size:
        raise DamagedBundleError(f"{entry.path}: inflates to another size than listed")
    return data


def _inflater() -> ZstdDecompressor:
    """This thread's: making one takes longer than inflating a small file."""
    found: ZstdDecompressor | None = getattr(_thread, "inflater", None)
    if found is None:
        import zstandard

        found = _thread.inflater = zstandard.ZstdDecompressor()
    return found


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


def _checked(bundle: str, entry: FileEntry, writable: bool) -> Stored:
    path = f"{bundle}/{entry.path}"
    if not (0 <= entry.stored_size <= FILE_LIMIT and 0 <= entry.size <= FILE_LIMIT):
        raise DamagedBundleError(f"{path}: claims an impossible size")
    read: Callable[[int, int], Stored] = _read_writable if writable else _read_all
    data = _read_regular(path, entry.stored_size, read)
    if len(data) != entry.stored_size:
        raise DamagedBundleError(f"{path}: {len(data)} bytes where {entry.stored_size} are listed")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise DamagedBundleError(f"{path}: its sha256 differs from the manifest")
    return data


def _read_regular(path: str, limit: int, read: Callable[[int, int], T]) -> T:
    """What ``read`` gives of a regular file of at most ``limit`` bytes that has one name, opened without
    following a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise DamagedBundleError(f"{path}: cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise DamagedBundleError(f"{path!a}: cannot be opened: {error}") from error
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
        return read(descriptor, status.st_size)
    except OSError as error:
        raise DamagedBundleError(f"{path}: cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, size: int) -> bytes:
    """Everything in the file of this ``size``, one byte more where it has grown: a read may give less than
    it was asked."""
    data = os.read(descriptor, size + 1)
    while len(data) < size and (part := os.read(descriptor, size + 1 - len(data))):
        data += part
    return data


def _read_writable(descriptor: int, size: int) -> memoryview:
    """The same in memory that can be written to."""
    memory = _memory(size + 1)
    filled = 0
    while filled <= size and (part := os.readv(descriptor, [memory[filled:]])):
        filled += part
    return memory[:filled]


def _memory(size: int) -> memoryview:
    """Memory of ``size`` bytes that begins with a page. The kernel puts all its pages there at once: one by
    one, when they are first written to, they take half a microsecond each. Huge pages take less where one
    is free, and milliseconds where it must be made."""
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    return memoryview(mmap.mmap(-1, size, kind))
