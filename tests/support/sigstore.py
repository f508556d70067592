"""A Sigstore instance on loopback: Fulcio, a CT log, Rekor v1 or v2, and a timestamp authority, for the real
client to talk to.

It is small and believes every token: it shows that what the client is told to write and verify is right, and
nothing about the servers.
"""

from __future__ import annotations

import base64
import datetime
import json
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.timestamps import PEM, Authority
from tests.support.tlogs import DER, ECDSA, START, RekorV1, RekorV2, b64, described, key_id, spki

ISSUER = "https://issuer.example.com"
IDENTITY = "release@example.com"


def token(identity: str = IDENTITY, issuer: str = ISSUER, lasts_s: int = 600) -> str:
    """An identity token, signed by nobody in particular."""
    now = int(time.time())
    claims = {"iss": issuer, "sub": identity, "aud": "sigstore", "iat": now, "exp": now + lasts_s}
    return jwt.encode(claims, "k" * 32, algorithm="HS256")


class Instance:
    """``rekor`` is the version of its log, ``timestamps`` whether it has a timestamp authority; without one,
    only Rekor v1 gives a time. ``certificates`` counts those that Fulcio gave, ``clock_s`` sets its clock
    ahead, ``stamping`` is whether the authority answers."""

    def __init__(self, rekor: int = 1, timestamps: bool = False) -> None:
        self.ca_key, self.ct_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.certificates = 0
        self.clock_s = 0
        self.stamping = True
        self.ca = self._root()
        instance = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/api/v1/timestamp":
                    assert instance.authority is not None
                    stamp = instance.authority.answer(body)
                    self._send(201 if instance.stamping else 503, "application/timestamp-reply", stamp)
                elif self.path == "/api/v2/signingCert":
                    raw = self.headers["Authorization"].removeprefix("Bearer ")
                    self._answer(201, instance.fulcio(json.loads(body), raw))
                else:
                    log = instance.logs[2 if self.path == "/api/v2/log/entries" else 1]
                    self._answer(201, log.add(json.loads(body)))

            def do_GET(self) -> None:
                """What GitHub Actions gives to a job that may have an identity."""
                self._answer(200, {"value": token()})

            def _answer(self, status: int, answer: object) -> None:
                self._send(status, "application/json", json.dumps(answer).encode())

            def _send(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.authority = Authority() if timestamps else None
        host = self.url.removeprefix("http://")
        self.logs: dict[int, RekorV1 | RekorV2] = {1: RekorV1(host)}
        if rekor == 2:
            self.logs[2] = RekorV2(host)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self.authority is not None:
            self.authority.close()

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
        now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.clock_s)
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
        entry = key_id(self.ca_key) + len(tbs).to_bytes(3, "big") + tbs
        signature = self.ct_key.sign(struct.pack("!BBQH", 0, 0, now, 1) + entry + b"\0\0", ECDSA)
        head = b"\0" + key_id(self.ct_key) + struct.pack("!QH", now, 0) + b"\x04\x03"
        sct = head + struct.pack("!H", len(signature)) + signature
        return struct.pack("!HH", len(sct) + 2, len(sct)) + sct

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
            "tlogs": [log.trusted(self.url) for log in self.logs.values()],
            "certificateAuthorities": [authority],
            "ctlogs": [
                described(self.url, spki(self.ct_key), "PKIX_ECDSA_P256_SHA_256", key_id(self.ct_key))
            ],
            "timestampAuthorities": [self.authority.trusted(self._tsa_url)] if self.authority else [],
        }

    def trust_config(self) -> dict[str, Any]:
        """Every log is on offer, as in the public instance's; the client takes the newest it knows."""
        tsa = [_service(self._tsa_url)] if self.authority else []
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.trusted_root(),
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [_service(self.url)],
                "oidcUrls": [_service(self.url)],
                "rekorTlogUrls": [_service(self.url, version) for version in self.logs],
                "tsaUrls": tsa,
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaConfig": {"selector": "ANY"},
            },
        }

    @property
    def _tsa_url(self) -> str:
        return f"{self.url}/api/v1/timestamp"


def _service(url: str, version: int = 1) -> dict[str, Any]:
    return {
        "url": url,
        "majorApiVersion": version,
        "validFor": {"start": START},
        "operator": "loopback",
    }


def _other(oid: str, value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)


def _length(data: bytes) -> bytes:
    """DER's length, and the data."""
    return bytes([len(data)]) + data if len(data) < 128 else bytes([0x81, len(data)]) + data
