"""Policies: who is believed. The caller chooses one; the bundle has no say in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from tezzeret_cli.bundle.read import SIGNATURE
from tezzeret_cli.errors import InputError, UntrustedBundleError
from tezzeret_cli.model.manifest import Manifest, Signing
from tezzeret_cli.trust.envelope import parse, pre_authentication
from tezzeret_cli.trust.statement import check_statement

if TYPE_CHECKING:
    from tezzeret_cli.trust.ecdsa import PublicKey


class SignedBy(msgspec.Struct, frozen=True):
    """Who vouches for a bundle: a key (its hint, and the name it has here), or an identity with its issuer;
    ``how`` is ``none`` where nobody was asked."""

    how: Signing
    key: str | None = None
    name: str | None = None
    identity: str | None = None
    issuer: str | None = None

    def __str__(self) -> str:
        if self.how is Signing.KEY:
            return f"signed by a key you trust: {self.name} ({self.key})"
        if self.how is Signing.KEYLESS:
            return f"signed by identity {self.identity} of issuer {self.issuer}"
        return "signature not verified"


class Policy(Protocol):
    """Decides about one bundle from its manifest, the manifest's exact bytes, and its signature file."""

    def verify(self, manifest: Manifest, data: bytes, signature: bytes | None) -> SignedBy:
        """Raises ``UntrustedBundleError``, and nothing else, when the bundle is not to be opened."""
        ...


class TrustedKeys:
    """Believes any of these keys."""

    def __init__(self, keys: Iterable[PublicKey] = (), where: str = "the keys given") -> None:
        self._keys = {key.hint: key for key in keys}
        self._where = where

    @classmethod
    def from_files(cls, paths: Sequence[str | os.PathLike[str]], where: str | None = None) -> TrustedKeys:
        """The keys in these files (PEM, one public key on P-256 each), called by the files' names. Raises
        ``InputError`` for a file that cannot be read or is something else."""
        if not paths:
            return cls((), where or "the keys given")
        from tezzeret_cli.trust import ecdsa

        keys = []
        for path in map(Path, paths):
            try:
                pem = path.read_bytes()
            except OSError as error:
                raise InputError(f"key {path}: {error.strerror}", advice="check the path") from error
            keys.append(ecdsa.read_public(pem, path.stem, f"key {path}"))
        return cls(keys, where or ", ".join(map(str, paths)))

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        return tuple(self._keys.values())

    def and_key(self, key: PublicKey) -> TrustedKeys:
        return TrustedKeys([*self._keys.values(), key], self._where)

    def verify(self, manifest: Manifest, data: bytes, signature: bytes | None) -> SignedBy:
        envelope = parse(_there(manifest, signature))
        if envelope.hint is None:
            raise UntrustedBundleError(
                "it is signed by a certificate for an identity, and a key is wanted",
                advice="say whom you expect: --cert-identity and --cert-oidc-issuer with --trusted-root, or "
                "trust=TrustedIdentity(...)",
            )
        key = self._keys.get(envelope.hint)
        if key is None:
            raise UntrustedBundleError(
                f"it is signed by a key that is not trusted: {envelope.hint[:64]!a} is not in {self._where}",
                advice="put the public key of whom you trust there, or verify with --key PUB",
            )
        if not key.verifies(envelope.signature, pre_authentication(envelope.payload)):
            raise UntrustedBundleError(f"its signature is not the one of key {key.name}")
        check_statement(envelope.payload, hashlib.sha256(data).hexdigest())
        return SignedBy(Signing.KEY, key=key.hint, name=key.name)


class TrustedIdentity:
    """Believes one identity of one issuer, under the roots in a file.

    ``trusted_root`` is Sigstore's trusted root, or a client trust configuration, as JSON; nothing is fetched.
    Raises ``InputError`` for an empty identity or issuer, and for a file that is neither.
    """

    def __init__(self, identity: str, issuer: str, trusted_root: str | os.PathLike[str]) -> None:
        if not identity or not issuer:
            raise InputError(
                "identity and issuer must both be given",
                advice="an identity means nothing without its issuer",
            )
        from tezzeret_cli.trust.keyless import read_root

        self._identity = identity
        self._issuer = issuer
        self._root = read_root(Path(trusted_root))

    def verify(self, manifest: Manifest, data: bytes, signature: bytes | None) -> SignedBy:
        from tezzeret_cli.trust.keyless import verify_certificate

        found = _there(manifest, signature)
        envelope = parse(found)
        if envelope.certificate is None:
            raise UntrustedBundleError(
                "it is signed by a key, and a certificate for an identity is wanted",
                advice="verify with --key PUB",
            )
        payload = verify_certificate(found, self._root, self._identity, self._issuer)
        if payload != envelope.payload:
            raise UntrustedBundleError("its payload is read in two ways")
        check_statement(payload, hashlib.sha256(data).hexdigest())
        return SignedBy(Signing.KEYLESS, identity=self._identity, issuer=self._issuer)


class Pinned:
    """Believes the one manifest with this sha256 (hex), whoever signed it."""

    def __init__(self, sha256: str) -> None:
        self._sha256 = sha256.lower()

    def verify(self, manifest: Manifest, data: bytes, signature: bytes | None) -> SignedBy:
        found = hashlib.sha256(data).hexdigest()
        if found != self._sha256:
            raise UntrustedBundleError(f"its manifest has sha256 {found}, expected is {self._sha256[:64]!a}")
        return SignedBy(Signing.NONE)


class Unverified:
    """Believes anybody: files must be as the manifest says, who made them is not asked."""

    def verify(self, manifest: Manifest, data: bytes, signature: bytes | None) -> SignedBy:
        return SignedBy(Signing.NONE)


UNVERIFIED = Unverified()


def _there(manifest: Manifest, signature: bytes | None) -> bytes:
    if manifest.signature == SIGNATURE and signature is not None:
        return signature
    if manifest.signing is Signing.NONE:
        why = "it was published unsigned, by --sign none"
    elif manifest.signature is None:
        why = "it is not signed"
    else:
        why = f"its signature file {SIGNATURE} is missing"
    raise UntrustedBundleError(why, advice="compile it again with a key, or ask for it: trust=UNVERIFIED")
