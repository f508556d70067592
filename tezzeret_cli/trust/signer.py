"""Signers: what publishing a bundle calls for its signature file."""

from __future__ import annotations

import datetime
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tezzeret_cli.errors import InputError, SigningError, VerificationError
from tezzeret_cli.model.manifest import Manifest, Signing
from tezzeret_cli.trust.envelope import encode_with_key, pre_authentication
from tezzeret_cli.trust.keyfile import read_key
from tezzeret_cli.trust.policy import Policy, TrustedKeys
from tezzeret_cli.trust.statement import encode_statement

if TYPE_CHECKING:
    from tezzeret_cli.trust.ecdsa import PrivateKey


Trusted = Callable[[], TrustedKeys]
Doubts = Callable[[Manifest, bytes, bytes | None], str | None]
"""Of a manifest, its exact bytes, and the signature file that was made earlier: why that does not count, for
people; ``None`` when it does."""


class Signer(Protocol):
    """``how`` goes into the manifest, which is then signed as it is."""

    @property
    def how(self) -> Signing: ...

    def ready(self) -> None:
        """Raise ``InputError`` now rather than at the first signature, where it cannot sign."""
        ...

    def sign(self, manifest: Manifest, data: bytes) -> bytes | None:
        """The signature file over the manifest whose exact bytes are ``data``; ``None`` for none. Raises
        ``SigningError``."""
        ...

    def accepts(self, manifest: Manifest, data: bytes, signature: bytes | None) -> bool:
        """Whether this is how the signer would have signed the manifest."""
        ...

    def doubts(self, manifest: Manifest, data: bytes, signature: bytes | None) -> str | None:
        """As ``Doubts``, of a bundle that is signed in this way."""
        ...


class Unsigned:
    """Signs nothing, because that was asked for."""

    how = Signing.NONE

    def ready(self) -> None:
        return None

    def sign(self, manifest: Manifest, data: bytes) -> bytes | None:
        return None

    def accepts(self, manifest: Manifest, data: bytes, signature: bytes | None) -> bool:
        return signature is None

    def doubts(self, manifest: Manifest, data: bytes, signature: bytes | None) -> str | None:
        return None


class KeySigner:
    """Signs with a private key, offline. The key is read when it is first needed: it may have a passphrase,
    which a run with nothing to do should not ask for. ``trusted`` says who else may have signed earlier."""

    how = Signing.KEY

    def __init__(self, read: Callable[[], PrivateKey], trusted: Trusted = TrustedKeys) -> None:
        self._read = read
        self._trusted = trusted

    @functools.cached_property
    def _key(self) -> PrivateKey:
        return self._read()

    @functools.cached_property
    def _policy(self) -> Policy:
        return TrustedKeys([self._key.public])

    def ready(self) -> None:
        self._policy  # noqa: B018 (read for its errors)

    def sign(self, manifest: Manifest, data: bytes) -> bytes | None:
        sha256 = hashlib.sha256(data).hexdigest()
        payload = encode_statement(manifest, sha256, datetime.datetime.now(datetime.UTC))
        signed = encode_with_key(payload, self._key.sign(pre_authentication(payload)), self._key.public.hint)
        if not self.accepts(manifest, data, signed):
            raise SigningError("the signature that was just made does not verify")
        return signed

    def accepts(self, manifest: Manifest, data: bytes, signature: bytes | None) -> bool:
        return _refusal(self._policy, manifest, data, signature) is None

    def doubts(self, manifest: Manifest, data: bytes, signature: bytes | None) -> str | None:
        """The signing key itself may be none of the trusted ones. Where it cannot be read, the bundle does
        not count either, and ``ready`` says why."""
        refused = _refusal(self._trusted(), manifest, data, signature)
        if refused is None:
            return None
        try:
            policy = self._trusted().and_key(self._key.public)
        except InputError:
            return refused
        return _refusal(policy, manifest, data, signature)


def _refusal(policy: Policy, manifest: Manifest, data: bytes, signature: bytes | None) -> str | None:
    try:
        policy.verify(manifest, data, signature)
    except VerificationError as error:
        return str(error)
    return None


def key_signer(path: Path, passphrase: bytes | None, trusted: Trusted = TrustedKeys) -> KeySigner:
    """The signer for the key in a file."""
    return KeySigner(lambda: read_key(path, passphrase), trusted)
