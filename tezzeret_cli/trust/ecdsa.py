"""ECDSA keys on P-256: PEM in, signatures in DER out. The one file that imports ``cryptography``.

Importing it takes tens of milliseconds, so everything but the loader imports it when it is needed.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tezzeret_cli.errors import InputError, VerificationError

_SCHEME = ec.ECDSA(hashes.SHA256())
_PEM = serialization.Encoding.PEM
_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo

_KNOWN_KEY = b"""\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExoqVgG5rVfxn9BEsL9YtFOtg2RpF
bQ87F/RsgZxPFqnbTl5fZWINjm1GQRLzO4tp9D3dz5grXx+ifqo6Yw26qQ==
-----END PUBLIC KEY-----
"""
_KNOWN_DATA = b"tezzeret"
_KNOWN_SIGNATURE = bytes.fromhex(
    "3046022100c5436f8310590fc33c16d7862d668bed26647ae9aa2d55af164631a0333e14"
    "2c022100b922a2176909bc1085aa1ddcfd719d34ae64192fa5f278cfb6d7259b1ed44e49"
)


class PublicKey:
    """A public key. ``hint`` is the base64 of the sha256 of its SubjectPublicKeyInfo, ``name`` what people
    call it."""

    def __init__(self, key: ec.EllipticCurvePublicKey, name: str) -> None:
        self._key = key
        self.name = name
        spki = key.public_bytes(serialization.Encoding.DER, _SPKI)
        self.hint = base64.b64encode(hashlib.sha256(spki).digest()).decode()

    @property
    def pem(self) -> bytes:
        return self._key.public_bytes(_PEM, _SPKI)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` (DER) is this key's over ``data``."""
        try:
            self._key.verify(signature, data, _SCHEME)
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    def __init__(self, key: ec.EllipticCurvePrivateKey, name: str) -> None:
        self._key = key
        self.public = PublicKey(key.public_key(), name)

    def sign(self, data: bytes) -> bytes:
        """A signature in DER over ``data``."""
        return self._key.sign(data, _SCHEME)

    def pem(self, passphrase: bytes | None) -> bytes:
        """PKCS#8, encrypted where there is a ``passphrase``."""
        protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase:
            protection = serialization.BestAvailableEncryption(passphrase)
        return self._key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, protection)


def self_test() -> None:
    """Verify a signature that is known to be good, and one that is not. Raises ``VerificationError``.

    The loader does it when it is imported: the library sets itself up with its first signature, which takes
    a millisecond that a load should not pay for.
    """
    key = read_public(_KNOWN_KEY, "known answer", "self test")
    if not key.verifies(_KNOWN_SIGNATURE, _KNOWN_DATA) or key.verifies(_KNOWN_SIGNATURE, b""):
        raise VerificationError("the library for signatures does not verify what it should, or too much")


def generate(name: str) -> PrivateKey:
    return PrivateKey(ec.generate_private_key(ec.SECP256R1()), name)


def read_public(pem: bytes, name: str, where: str) -> PublicKey:
    """The key in ``pem``. Raises ``InputError``, naming ``where``, unless it is one public key on P-256."""
    if b"PRIVATE KEY" in pem:
        raise InputError(
            f"{where}: it is a private key", advice="give the public half, and keep this one secret"
        )
    if pem.count(b"-----BEGIN ") != 1:
        raise InputError(f"{where}: not one public key in PEM", advice="put each key into a file of its own")
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{where}: not a public key in PEM", advice="check the file") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InputError(f"{where}: not an ECDSA key on P-256", advice="use one that tezzeret made")
    return PublicKey(key, name)


def read_private(pem: bytes, passphrase: bytes | None, name: str, where: str) -> PrivateKey:
    """The key in ``pem`` (PKCS#8). Raises ``InputError``, naming ``where``, unless it is a private key on
    P-256 that ``passphrase`` opens. A passphrase that is not needed is not used."""
    locked = b"ENCRYPTED" in pem
    if locked and not passphrase:
        raise InputError(f"{where}: the key has a passphrase", advice="give it in TEZZERET_KEY_PASSPHRASE")
    try:
        key = serialization.load_pem_private_key(pem, passphrase if locked else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        what = "the passphrase does not fit" if locked else "not a private key in PEM"
        raise InputError(f"{where}: {what}", advice="check file and passphrase") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InputError(f"{where}: not an ECDSA key on P-256", advice="leave --key out to have one made")
    return PrivateKey(key, name)
