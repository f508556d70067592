"""Signers: what publishing a bundle calls for its signature file."""

from __future__ import annotations

import datetime
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tezzeret_cli.errors import SigningError, VerificationError
from tezzeret_cli.model.manifest import Manifest, Signing
from tezzeret_cli.trust.envelope import encode_with_key, pre_authentication
from tezzeret_cli.trust.keyfile import read_key
from tezzeret_cli.trust.policy import Policy, TrustedKeys
from tezzeret_cli.trust.statement import encode_statement

if TYPE_CHECKING:
    from tezzeret_cli.trust.ecdsa import PrivateKey


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


class Unsigned:
    """Signs nothing, because that was asked for."""

    how = Signing.NONE

    def ready(self) -> None:
        return None

    def sign(self, manifest: Manifest, data: bytes) -> bytes | None:
        return None

    def accepts(self, manifest: Manifest, data: bytes, signature: bytes | None) -> bool:
        return signature is None


class KeySigner:
    """Signs with a private key, offline. The key is read when it is first needed: that takes a library
    which a run with nothing to do should not import."""

    how = Signing.KEY

    def __init__(self, read: Callable[[], PrivateKey]) -> None:
        self._read = read

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
        try:
            self._policy.verify(manifest, data, signature)
        except VerificationError:
            return False
        return True


def key_signer(path: Path, passphrase: bytes | None) -> KeySigner:
    """The signer for the key in a file."""
    return KeySigner(lambda: read_key(path, passphrase))
