"""A timestamp authority (RFC 3161): OpenSSL's, with a key and a chain of its own."""

from __future__ import annotations

import datetime
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.tlogs import DER, START, b64

PEM = serialization.Encoding.PEM
_SETTINGS = """\
[tsa]
default_tsa = loopback
[loopback]
serial = serial
signer_cert = signer.pem
signer_key = key.pem
signer_digest = sha256
default_policy = 1.3.6.1.4.1.57264.2
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
"""


class Authority:
    """``until`` (RFC 3339) is when the trusted root says that it was retired."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._lock = threading.Lock()
        self.until: str | None = None
        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = _certificate("loopback TSA root", root_key, "loopback TSA root", root_key)
        signer = _certificate("loopback TSA", key, "loopback TSA root", root_key)
        self._chain = [signer, root]
        plain = serialization.NoEncryption()
        folder = Path(self._folder.name)
        (folder / "settings.cnf").write_text(_SETTINGS)
        (folder / "serial").write_text("01\n")
        (folder / "signer.pem").write_bytes(signer.public_bytes(PEM))
        (folder / "key.pem").write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain))

    def close(self) -> None:
        self._folder.cleanup()

    def answer(self, query: bytes) -> bytes:
        """The response to a query, both in DER."""
        command = ("openssl", "ts", "-reply", "-config", "settings.cnf", "-queryfile", "query")
        with self._lock:
            (Path(self._folder.name) / "query").write_bytes(query)
            done = subprocess.run(command, cwd=self._folder.name, capture_output=True, check=True)
        return done.stdout

    def trusted(self, url: str) -> dict[str, Any]:
        """Itself, in a trusted root."""
        return {
            "subject": {"organization": "loopback", "commonName": "loopback TSA"},
            "uri": url,
            "certChain": {
                "certificates": [{"rawBytes": b64(each.public_bytes(DER))} for each in self._chain]
            },
            "validFor": {"start": START} | ({"end": self.until} if self.until else {}),
        }


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    ca = name == issuer
    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if not ca:
        stamping = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(stamping, critical=True).add_extension(issuer_id, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
