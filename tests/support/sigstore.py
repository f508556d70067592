"""A Sigstore instance on loopback: Fulcio, a CT log, and Rekor v1, for the real client to talk to.

It is small and believes every token: it shows that what the client is told to write and verify is right, and
nothing about the servers.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ISSUER = "https://issuer.example.com"
IDENTITY = "release@example.com"
ECDSA = ec.ECDSA(hashes.SHA256())
DER = serialization.Encoding.DER
PEM = serialization.Encoding.PEM
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
START = "2020-01-01T00:00:00Z"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def token(identity: str = IDENTITY, issuer: str = ISSUER, lasts_s: int = 600) -> str:
    """An identity token, signed by nobody in particular."""
    now = int(time.time())
    claims = {"iss": issuer, "sub": identity, "aud": "sigstore", "iat": now, "exp": now + lasts_s}
    return jwt.encode(claims, "k" * 32, algorithm="HS256")


class Instance:
    """Its keys, its log, and how many certificates it gave. ``clock_s`` sets the log's clock ahead."""

    def __init__(self) -> None:
        self.ca_key, self.ct_key, self.log_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        self.leaves: list[bytes] = []
        self.certificates = 0
        self.clock_s = 0
        self.ca = self._root()
        instance = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/api/v2/signingCert":
                    answer = instance.fulcio(request, self.headers["Authorization"].removeprefix("Bearer "))
                else:
                    answer = instance.rekor(request)
                self._answer(201, answer)

            def do_GET(self) -> None:
                """What GitHub Actions gives to a job that may have an identity."""
                self._answer(200, {"value": token()})

            def _answer(self, status: int, answer: object) -> None:
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _root(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
        now = datetime.datetime.now(datetime.UTC)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.ca_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(True, 0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.ca_key.public_key()), critical=False
            )
            .sign(self.ca_key, hashes.SHA256())
        )

    def fulcio(self, request: dict[str, Any], raw: str) -> dict[str, Any]:
        """A certificate for ten minutes, with the CT log's promise in it."""
        claims = jwt.decode(raw, options={"verify_signature": False})
        csr = x509.load_pem_x509_csr(base64.b64decode(request["certificateSigningRequest"]))
        now = datetime.datetime.now(datetime.UTC)
        issuer = claims["iss"].encode()
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        ca_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca_key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.ca.subject)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(seconds=5))
            .not_valid_after(now + datetime.timedelta(minutes=10))
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(csr.public_key()), critical=False)
            .add_extension(ca_id, critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(claims["sub"])]), critical=True)
            .add_extension(_other("1.3.6.1.4.1.57264.1.1", issuer), critical=False)
            .add_extension(_other("1.3.6.1.4.1.57264.1.8", b"\x0c" + _length(issuer)), critical=False)
        )
        precertificate = builder.sign(self.ca_key, hashes.SHA256())
        promise = self._promise(precertificate.tbs_certificate_bytes)
        sct = _other("1.3.6.1.4.1.11129.2.4.2", b"\x04" + _length(promise))
        certificate = builder.add_extension(sct, critical=False).sign(self.ca_key, hashes.SHA256())
        self.certificates += 1
        chain = [each.public_bytes(PEM).decode() for each in (certificate, self.ca)]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}

    def _promise(self, tbs: bytes) -> bytes:
        """A list of one signed certificate timestamp (RFC 6962)."""
        now = int(time.time() * 1000)
        issuer = hashlib.sha256(self.ca_key.public_key().public_bytes(DER, SPKI)).digest()
        entry = issuer + len(tbs).to_bytes(3, "big") + tbs
        signature = self.ct_key.sign(struct.pack("!BBQH", 0, 0, now, 1) + entry + b"\0\0", ECDSA)
        head = b"\0" + _log_id(self.ct_key) + struct.pack("!QH", now, 0) + b"\x04\x03"
        sct = head + struct.pack("!H", len(signature)) + signature
        return struct.pack("!HH", len(sct) + 2, len(sct)) + sct

    def rekor(self, request: dict[str, Any]) -> dict[str, Any]:
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
        index = len(self.leaves)
        self.leaves.append(hashlib.sha256(b"\0" + body).digest())
        size, root = len(self.leaves), _root(self.leaves)
        note = f"loopback\n{size}\n{b64(root)}\n"
        signature = _log_id(self.log_key)[:4] + self.log_key.sign(note.encode(), ECDSA)
        entry = {
            "body": b64(body),
            "integratedTime": int(time.time()) + self.clock_s,
            "logID": _log_id(self.log_key).hex(),
            "logIndex": index,
        }
        promise = self.log_key.sign(rfc8785.dumps(entry), ECDSA)
        proof = {
            "logIndex": index,
            "rootHash": root.hex(),
            "treeSize": size,
            "hashes": [each.hex() for each in _path(index, self.leaves)],
            "checkpoint": f"{note}\n\u2014 loopback {b64(signature)}\n",
        }
        verification = {"inclusionProof": proof, "signedEntryTimestamp": b64(promise)}
        return {hashlib.sha256(body).hexdigest(): {**entry, "verification": verification}}

    def trusted_root(self) -> dict[str, Any]:
        certificates = [{"rawBytes": b64(self.ca.public_bytes(DER))}]
        authority = {
            "subject": {"organization": "loopback", "commonName": "loopback"},
            "uri": self.url,
            "certChain": {"certificates": certificates},
            "validFor": {"start": START},
        }
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [_log(self.url, self.log_key)],
            "certificateAuthorities": [authority],
            "ctlogs": [_log(self.url, self.ct_key)],
            "timestampAuthorities": [],
        }

    def trust_config(self) -> dict[str, Any]:
        service = {
            "url": self.url,
            "majorApiVersion": 1,
            "validFor": {"start": START},
            "operator": "loopback",
        }
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.trusted_root(),
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [service],
                "oidcUrls": [service],
                "rekorTlogUrls": [service],
                "tsaUrls": [],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaConfig": {"selector": "ANY"},
            },
        }


def _other(oid: str, value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)


def _length(data: bytes) -> bytes:
    """DER's length, and the data."""
    return bytes([len(data)]) + data if len(data) < 128 else bytes([0x81, len(data)]) + data


def _log_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(key.public_key().public_bytes(DER, SPKI)).digest()


def _log(url: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    public = {
        "rawBytes": b64(key.public_key().public_bytes(DER, SPKI)),
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "validFor": {"start": START},
    }
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": public,
        "logId": {"keyId": b64(_log_id(key))},
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
