"""Certificates for identities, by the Sigstore client. The one file that imports ``sigstore``; lazily."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tezzeret_cli.errors import InputError, SigningError, UntrustedBundleError, VerificationError
from tezzeret_cli.model.manifest import Manifest, Signing
from tezzeret_cli.trust.envelope import PAYLOAD_TYPE, parse
from tezzeret_cli.trust.statement import check_statement, encode_statement

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig, TrustedRoot
    from sigstore.oidc import IdentityToken
    from sigstore.sign import Signer as Client


def read_root(path: Path) -> TrustedRoot:
    """The trusted root in a file, which may be a whole client trust configuration. Raises ``InputError``."""
    from sigstore.errors import Error
    from sigstore.models import ClientTrustConfig, TrustedRoot

    text = _text(path, "trusted root")
    try:
        if "trustedRoot" in json.loads(text):
            return ClientTrustConfig.from_json(text).trusted_root
        return TrustedRoot.from_file(str(path))
    except (Error, ValueError, TypeError) as error:
        raise InputError(f"trusted root {path}: {_line(error)}", advice="check the file") from error


def verify_certificate(data: bytes, root: TrustedRoot, identity: str, issuer: str) -> bytes:
    """The payload of the signature file ``data``, signed by this identity of this issuer at a verified time
    at which its certificate held, all under ``root``. Uses no network. Raises ``UntrustedBundleError``."""
    from sigstore.models import Bundle
    from sigstore.verify.policy import Identity
    from sigstore.verify.verifier import Verifier

    try:
        verifier = Verifier(trusted_root=root)
        kind, payload = verifier.verify_dsse(
            Bundle.from_json(data), Identity(identity=identity, issuer=issuer)
        )
    except Exception as error:  # whatever a forged certificate or timestamp makes the libraries below raise
        raise UntrustedBundleError(f"the certificate is not believed: {_line(error)}") from error
    if kind != PAYLOAD_TYPE:
        raise UntrustedBundleError(f"a payload of type {kind[:100]!r}, not {PAYLOAD_TYPE}")
    return payload


class KeylessSigner:
    """Signs with a certificate for the identity of ``token()``: one for all bundles of a run, and another one
    where it expires meanwhile. What it makes is verified before it is handed out."""

    how = Signing.KEYLESS

    def __init__(self, config: ClientTrustConfig, token: Callable[[], IdentityToken]) -> None:
        from sigstore.sign import SigningContext

        self._config = config
        self._token = token
        self._current = token()
        self._context = SigningContext.from_trust_config(config)
        self._client: Client | None = None

    def ready(self) -> None:
        return None

    def sign(self, manifest: Manifest, data: bytes) -> bytes | None:
        sha256 = hashlib.sha256(data).hexdigest()
        payload = encode_statement(manifest, sha256, datetime.datetime.now(datetime.UTC))
        try:
            signed = self._sign(payload)
        except Exception as error:  # the client raises its own errors and those of every library below it
            raise SigningError(
                f"keyless signing failed: {_line(error)}",
                advice="resume the run when the services can be reached, with a fresh identity token",
            ) from error
        try:
            self._check(data, signed)
        except VerificationError as error:
            raise SigningError(f"the signature that was just made does not verify: {error}") from error
        return signed

    def _sign(self, payload: bytes) -> bytes:
        from sigstore._internal.fulcio import ExpiredCertificate
        from sigstore.dsse import Statement
        from sigstore.sign import Signer as Client

        if self._client is None:
            if not self._current.in_validity_period():
                self._current = self._token()
            self._client = Client(self._current, self._context, cache=True)
        try:
            bundle = self._client.sign_dsse(Statement(payload))
        except ExpiredCertificate:
            self._current = self._token()
            self._client = Client(self._current, self._context, cache=True)
            bundle = self._client.sign_dsse(Statement(payload))
        return bundle.to_json().encode() + b"\n"

    def accepts(self, manifest: Manifest, data: bytes, signature: bytes | None) -> bool:
        if signature is None:
            return False
        try:
            self._check(data, signature)
        except VerificationError:
            return False
        return True

    def doubts(self, manifest: Manifest, data: bytes, signature: bytes | None) -> str | None:
        """None: whoever signed may have been another identity that is as good, as that of another branch."""
        return None

    def _check(self, data: bytes, signature: bytes) -> None:
        parse(signature)
        token = self._current
        root = self._config.trusted_root
        payload = verify_certificate(signature, root, token.identity, token.federated_issuer)
        check_statement(payload, hashlib.sha256(data).hexdigest())


def keyless_signer(trust_config: Path | None, token: str | None) -> KeylessSigner:
    """The signer for the identity in ``token`` (a JSON web token), or else in that of the service this
    process runs in. Without ``trust_config`` the public Sigstore instance is used.

    Raises ``InputError`` when there is no identity, or no configuration, to sign with.
    """
    try:
        from sigstore.errors import Error
        from sigstore.models import ClientTrustConfig
        from sigstore.oidc import IdentityToken, detect_credential
    except ImportError as error:
        raise InputError(
            "keyless signing needs the package sigstore", advice="install tezzeret-cli[keyless]"
        ) from error
    if trust_config is not None:
        text = _text(trust_config, "trust configuration")
    try:
        config = ClientTrustConfig.production() if trust_config is None else ClientTrustConfig.from_json(text)
    except (Error, ValueError, OSError) as error:
        where = trust_config or "the public instance"
        raise InputError(
            f"trust configuration {where}: {_line(error)}", advice="check --trust-config"
        ) from error

    def identity() -> IdentityToken:
        raw = token or detect_credential()
        if raw is None:
            raise InputError(
                "keyless signing: this process has no identity",
                advice="give --identity-token, or run where a service gives one (GitHub Actions with "
                "id-token: write, GitLab with id_tokens)",
            )
        return IdentityToken(raw)

    try:
        return KeylessSigner(config, identity)
    except (Error, ValueError, OSError) as error:
        raise InputError(f"keyless signing: {_line(error)}", advice="check the identity token") from error


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what} {path}: {_line(error)}", advice="check the path") from error


def _line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300]}" if text else type(error).__name__
