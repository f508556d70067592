"""A Sigstore bundle (v0.3, JSON) with a DSSE envelope, as bytes and as structs; strict in what it reads.

The wire names are Sigstore's and DSSE's own.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from tezzeret_cli.bundle.strict import decode_strict
from tezzeret_cli.errors import UntrustedBundleError

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"


class DsseSignature(msgspec.Struct, frozen=True):
    """``sig`` is base64. ``keyid`` is a hint of DSSE's own that nothing here uses."""

    sig: str
    keyid: str | UnsetType = UNSET


class Dsse(msgspec.Struct, frozen=True, rename="camel"):
    """A DSSE envelope; ``payload`` is base64."""

    payload: str
    payload_type: str
    signatures: list[DsseSignature]


class PublicKey(msgspec.Struct, frozen=True):
    """``hint`` is the base64 of the sha256 of the key's SubjectPublicKeyInfo."""

    hint: str


class Certificate(msgspec.Struct, frozen=True, rename="camel"):
    raw_bytes: str


class SignedTimestamp(msgspec.Struct, frozen=True, rename="camel"):
    signed_timestamp: str


class Timestamps(msgspec.Struct, frozen=True):
    rfc3161_timestamps: list[SignedTimestamp] = msgspec.field(default_factory=list, name="rfc3161Timestamps")


class LogEntry(msgspec.Struct, frozen=True, rename="camel"):
    """An entry of a transparency log. What is in it is checked by the Sigstore client."""

    log_index: str
    log_id: dict[str, str]
    kind_version: dict[str, str]
    canonicalized_body: str
    inclusion_proof: dict[str, Any]
    integrated_time: str | UnsetType = UNSET
    inclusion_promise: dict[str, str] | UnsetType = UNSET


class Material(msgspec.Struct, frozen=True, rename="camel"):
    """What the signature is verified with: a public key's hint, or a certificate and what supports it. What
    is not there is left out: a null beside the other one would be read as both by some."""

    public_key: PublicKey | UnsetType = UNSET
    certificate: Certificate | UnsetType = UNSET
    tlog_entries: list[LogEntry] | UnsetType = UNSET
    timestamp_verification_data: Timestamps | UnsetType = UNSET


class SigstoreBundle(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    verification_material: Material
    dsse_envelope: Dsse | UnsetType = UNSET


class Envelope(msgspec.Struct, frozen=True):
    """A signature file that has been taken apart. ``payload`` and ``signature`` are bytes; exactly one of
    ``hint`` and ``certificate`` (DER) is there."""

    payload: bytes
    signature: bytes
    hint: str | None
    certificate: bytes | None


_DECODER = msgspec.json.Decoder(SigstoreBundle)


def pre_authentication(payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """What DSSE signs: type and payload with their lengths."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def encode_with_key(payload: bytes, signature: bytes, hint: str) -> bytes:
    """The signature file of a key: ``signature`` is ECDSA's in DER over ``pre_authentication(payload)``."""
    signatures = [DsseSignature(base64.b64encode(signature).decode())]
    envelope = Dsse(base64.b64encode(payload).decode(), PAYLOAD_TYPE, signatures)
    return _write(SigstoreBundle(MEDIA_TYPE, Material(PublicKey(hint)), envelope))


def parse(data: bytes) -> Envelope:
    """Take a signature file apart. Nothing is verified yet. Raises ``UntrustedBundleError`` unless it holds
    one DSSE envelope of an in-toto statement, with one signature, by a key or by a certificate."""
    bundle = decode_strict(data, _DECODER, "not a Sigstore bundle", UntrustedBundleError, _write)
    if bundle.media_type != MEDIA_TYPE:
        raise UntrustedBundleError(f"a signature of media type {bundle.media_type[:100]!r}, not {MEDIA_TYPE}")
    dsse = bundle.dsse_envelope
    if dsse is UNSET:
        raise UntrustedBundleError("the signature has no DSSE envelope")
    if dsse.payload_type != PAYLOAD_TYPE:
        raise UntrustedBundleError(f"a payload of type {dsse.payload_type[:100]!r}, not {PAYLOAD_TYPE}")
    if len(dsse.signatures) != 1:
        raise UntrustedBundleError(f"{len(dsse.signatures)} signatures where one is expected")
    material = bundle.verification_material
    key, certificate = material.public_key, material.certificate
    if (key is UNSET) == (certificate is UNSET):
        raise UntrustedBundleError("either a key or a certificate must be named, not both or neither")
    if key is not UNSET and (material.tlog_entries or material.timestamp_verification_data is not UNSET):
        raise UntrustedBundleError("log entries or timestamps beside a key, which nothing would verify")
    return Envelope(
        payload=_base64(dsse.payload, "payload"),
        signature=_base64(dsse.signatures[0].sig, "signature"),
        hint=None if key is UNSET else key.hint,
        certificate=None if certificate is UNSET else _base64(certificate.raw_bytes, "certificate"),
    )


def _write(bundle: SigstoreBundle) -> bytes:
    return msgspec.json.encode(bundle) + b"\n"


def _base64(text: str, what: str) -> bytes:
    """Decode base64 that is written in the one canonical way, and is not empty."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UntrustedBundleError(f"its {what} is not base64") from error
    if not data or base64.b64encode(data).decode() != text:
        raise UntrustedBundleError(f"its {what} is not canonical base64")
    return data
