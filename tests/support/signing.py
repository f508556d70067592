"""Signed bundles made by hand in a moment, with every part of them open to forgery."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from tests.support.command import Command
from tests.support.manifests import DRAFT, TARGET
from tezzeret_cli.bundle.canonical import canonical, guard_digest
from tezzeret_cli.bundle.version import lineage
from tezzeret_cli.model.manifest import Encoding, FileEntry, Manifest, Signing
from tezzeret_cli.trust import ecdsa
from tezzeret_cli.trust.envelope import encode_with_key, pre_authentication
from tezzeret_cli.trust.keyfile import make_key
from tezzeret_cli.trust.signer import Signer, key_signer
from tezzeret_cli.trust.statement import encode_statement

KEY = ecdsa.generate("mine")
STRANGER = ecdsa.generate("stranger")
TEXT = b"a long line of text for people\n" * 100
CONTENT = {"lib/v0.forward.so": b"\x7fELF native code", "tensors.safetensors": b"tensors"}
NOW = datetime.datetime(2026, 1, 1, 0, 1, tzinfo=datetime.UTC)
LINEAGE = lineage({}, TARGET)


def entry(path: str, stored: bytes, size: int | None = None) -> FileEntry:
    sha256 = hashlib.sha256(stored).hexdigest()
    encoding = Encoding.IDENTITY if size is None else Encoding.ZSTD
    return FileEntry(path, len(stored) if size is None else size, sha256, len(stored), encoding)


def manifest(**changes: object) -> Manifest:
    """A manifest that verifies, with the files that ``write`` writes."""
    packed = zstandard.ZstdCompressor().compress(TEXT)
    files = tuple(entry(path, data) for path, data in CONTENT.items())
    made = msgspec.structs.replace(
        DRAFT,
        version=f"1.0.0+{LINEAGE}",
        lineage=LINEAGE,
        guard_digest=guard_digest(()),
        files=(entry("guards.txt", packed, len(TEXT)), *files),
        signature="bundle.sigstore.json",
        signing=Signing.KEY,
        run="20260101T000000Z-00000000",
    )
    return msgspec.structs.replace(made, **changes)


def sign(data: bytes, key: ecdsa.PrivateKey = KEY, made: Manifest | None = None) -> bytes:
    """The signature file of a manifest's bytes."""
    payload = encode_statement(made or manifest(), hashlib.sha256(data).hexdigest(), NOW)
    return encode_with_key(payload, key.sign(pre_authentication(payload)), key.public.hint)


def write(folder: Path, made: Manifest | None = None, data: bytes | None = None, **changes: object) -> Path:
    """A signed bundle in ``folder``; ``data`` are other bytes for the manifest than its canonical ones."""
    made = made or manifest(**changes)
    data = canonical(made) if data is None else data
    folder.mkdir(parents=True)
    contents = {"guards.txt": zstandard.ZstdCompressor().compress(TEXT), **CONTENT}
    for path, content in contents.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / "manifest.json").write_bytes(data)
    if made.signature is not None:
        (folder / "bundle.sigstore.json").write_bytes(sign(data, made=made))
    return folder


def signature(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "bundle.sigstore.json").read_bytes())


def put_signature(folder: Path, bundle: object) -> None:
    (folder / "bundle.sigstore.json").write_bytes(json.dumps(bundle).encode())


def statement(folder: Path) -> dict[str, Any]:
    return json.loads(base64.b64decode(signature(folder)["dsseEnvelope"]["payload"]))


def put_statement(folder: Path, payload: bytes, key: ecdsa.PrivateKey = KEY) -> None:
    """Sign another payload with a key: what a signer who is trusted might have been made to sign."""
    signed = encode_with_key(payload, key.sign(pre_authentication(payload)), key.public.hint)
    (folder / "bundle.sigstore.json").write_bytes(signed)


def sign_as(command: Command, bundle: Path, **changes: object) -> None:
    """Sign a bundle by the key of a command's home, after ``changes`` to its manifest."""
    sign_by(key_signer(make_key(command.trusted.parent, None), None), bundle, **changes)


def sign_by(signer: Signer, bundle: Path, **changes: object) -> None:
    """Sign a bundle by ``signer``, after ``changes`` to its manifest."""
    found = msgspec.json.decode((bundle / "manifest.json").read_bytes(), type=Manifest)
    signed = {"signing": signer.how, "signature": "bundle.sigstore.json"}
    made = msgspec.structs.replace(found, **signed, **changes)
    (bundle / "manifest.json").write_bytes(canonical(made))
    (bundle / "bundle.sigstore.json").write_bytes(signer.sign(made, canonical(made)) or b"")
