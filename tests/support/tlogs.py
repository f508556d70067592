"""Transparency logs as Rekor keeps them: v1 promises at once, v2 answers with a proof and says no time."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

DER = serialization.Encoding.DER
ECDSA = ec.ECDSA(hashes.SHA256())
START = "2020-01-01T00:00:00Z"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def spki(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    """What RFC 6962 calls a log."""
    return hashlib.sha256(spki(key)).digest()


def note_id(name: str, key: bytes) -> bytes:
    """What a signed note calls an Ed25519 ``key``; Rekor v2 calls its log so."""
    return hashlib.sha256(name.encode() + b"\n\x01" + key).digest()


def described(url: str, key: bytes, details: str, log_id: bytes) -> dict[str, Any]:
    """A log in a trusted root; ``key`` is in DER."""
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {"rawBytes": b64(key), "keyDetails": details, "validFor": {"start": START}},
        "logId": {"keyId": b64(log_id)},
    }


class RekorV1:
    """``name`` is who signs its checkpoints: host and port."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaves: list[bytes] = []

    def trusted(self, url: str) -> dict[str, Any]:
        return described(url, spki(self._key), "PKIX_ECDSA_P256_SHA_256", key_id(self._key))

    def add(self, request: dict[str, Any]) -> dict[str, Any]:
        """Log a DSSE envelope: its place in the tree, a signed checkpoint, and a promise with a time."""
        content = request["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        payload = base64.b64decode(envelope["payload"])
        spec = {
            "envelopeHash": {
                "algorithm": "sha256",
                "value": hashlib.sha256(content["envelope"].encode()).hexdigest(),
            },
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [
                {"signature": envelope["signatures"][0]["sig"], "verifier": content["verifiers"][0]}
            ],
        }
        body = rfc8785.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        self._leaves.append(hashlib.sha256(b"\0" + body).digest())
        index, size, root = len(self._leaves) - 1, len(self._leaves), _root(self._leaves)
        note = f"{self._name} - 1\n{size}\n{b64(root)}\n"
        signature = key_id(self._key)[:4] + self._key.sign(note.encode(), ECDSA)
        entry = {
            "body": b64(body),
            "integratedTime": int(time.time()),
            "logID": key_id(self._key).hex(),
            "logIndex": index,
        }
        promise = self._key.sign(rfc8785.dumps(entry), ECDSA)
        proof = {
            "logIndex": index,
            "rootHash": root.hex(),
            "treeSize": size,
            "hashes": [each.hex() for each in _path(index, self._leaves)],
            "checkpoint": f"{note}\n\u2014 {self._name} {b64(signature)}\n",
        }
        verification = {"inclusionProof": proof, "signedEntryTimestamp": b64(promise)}
        return {hashlib.sha256(body).hexdigest(): {**entry, "verification": verification}}


class RekorV2:
    """``name`` is the origin of its checkpoints, and who signs them: host and port."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._key = ed25519.Ed25519PrivateKey.generate()
        self._id = note_id(name, self._key.public_key().public_bytes_raw())
        self._leaves: list[bytes] = []

    def trusted(self, url: str) -> dict[str, Any]:
        return described(url, spki(self._key), "PKIX_ED25519", self._id)

    def add(self, request: dict[str, Any]) -> dict[str, Any]:
        """Log a hashedrekord 0.0.2, which stands for a DSSE envelope too: its place in the tree, and a signed
        checkpoint. Raises ``InvalidSignature`` when what is to be logged is not signed by its certificate."""
        wanted = request["hashedRekordRequestV002"]
        signature, digest = wanted["signature"], base64.b64decode(wanted["digest"])
        raw = base64.b64decode(signature["verifier"]["x509Certificate"]["rawBytes"])
        signer = x509.load_der_x509_certificate(raw).public_key()
        signer.verify(base64.b64decode(signature["content"]), digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        data = {"algorithm": "SHA2_256", "digest": wanted["digest"]}
        spec = {"hashedRekordV002": {"data": data, "signature": signature}}
        body = rfc8785.dumps({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec})
        self._leaves.append(hashlib.sha256(b"\0" + body).digest())
        index, size, root = len(self._leaves) - 1, len(self._leaves), _root(self._leaves)
        note = f"{self._name}\n{size}\n{b64(root)}\n"
        signed = self._id[:4] + self._key.sign(note.encode())
        return {
            "logIndex": str(index),
            "logId": {"keyId": b64(self._id)},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": b64(root),
                "treeSize": str(size),
                "hashes": [b64(each) for each in _path(index, self._leaves)],
                "checkpoint": {"envelope": f"{note}\n\u2014 {self._name} {b64(signed)}\n"},
            },
            "canonicalizedBody": b64(body),
        }


def _split(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def _root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    at = _split(len(leaves))
    return hashlib.sha256(b"\1" + _root(leaves[:at]) + _root(leaves[at:])).digest()


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    at = _split(len(leaves))
    if index < at:
        return [*_path(index, leaves[:at]), _root(leaves[at:])]
    return [*_path(index - at, leaves[at:]), _root(leaves[:at])]
