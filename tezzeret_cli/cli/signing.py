"""How a run signs: settings and flags become options, options become a signer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tezzeret_cli.errors import InputError, SettingsError
from tezzeret_cli.model.manifest import Signing
from tezzeret_cli.model.run import SigningOptions
from tezzeret_cli.settings import CI_VARIABLE, Settings, config_folder, passphrase_of
from tezzeret_cli.trust.keyfile import default_key, make_key
from tezzeret_cli.trust.signer import Doubts, KeySigner, Signer, Unsigned, key_signer
from tezzeret_cli.trust.trusted import trusted_folder, trusted_keys


def signing_options(
    settings: Settings, environment: Mapping[str, str], trust_config: str | None, token: str | None
) -> SigningOptions:
    """What goes on record of how a run signs; paths are absolute, a token is not among it. Raises
    ``SettingsError`` for an unknown way, and for flags that do not go together."""
    try:
        how = Signing(settings.sign)
    except ValueError:
        known = ", ".join(Signing)
        raise SettingsError(
            f"sign {settings.sign}: unknown way to sign", advice=f"use one of {known}"
        ) from None
    if how is not Signing.KEYLESS and (trust_config or token):
        raise SettingsError(
            "--identity-token and --trust-config are for keyless signing", advice="add --sign keyless"
        )
    if how is not Signing.KEY and settings.key:
        raise SettingsError(f"a key is given, and --sign {how}", advice="leave one of them out")
    if how is Signing.KEY:
        key = os.path.abspath(settings.key) if settings.key else str(default_key(config_folder(environment)))
        return SigningOptions(how, key)
    return SigningOptions(how, trust_config=os.path.abspath(trust_config) if trust_config else None)


def make_signer(options: SigningOptions, environment: Mapping[str, str], token: str | None = None) -> Signer:
    """The signer that a run asked for; the key of this user is made where it is wanted and missing. Raises
    ``InputError``, also rather than make a key where nobody would keep it (``CI`` is set)."""
    match options.how:
        case Signing.NONE:
            return Unsigned()
        case Signing.KEY:
            path = Path(options.key)
            config = config_folder(environment)
            if path == default_key(config) and not path.exists():
                if environment.get(CI_VARIABLE):
                    raise InputError(
                        f"there is no signing key, and none is made where {CI_VARIABLE} is set",
                        advice="give one with --key FILE, or ask for --sign keyless or --sign none",
                    )
                make_key(config, passphrase_of(environment))
            return _by_key(path, environment)
        case Signing.KEYLESS:
            from tezzeret_cli.trust.keyless import keyless_signer

            trust_config = Path(options.trust_config) if options.trust_config else None
            return keyless_signer(trust_config, token)


def make_doubts(options: SigningOptions, environment: Mapping[str, str]) -> Doubts:
    """The doubts of the signer that a run asks for. No key is made, and no service asked."""
    key = Path(options.key) if options.how is Signing.KEY else None
    return Unsigned().doubts if key is None else _by_key(key, environment).doubts


def _by_key(path: Path, environment: Mapping[str, str]) -> KeySigner:
    trusted = trusted_folder(config_folder(environment))
    return key_signer(path, passphrase_of(environment), lambda: trusted_keys(trusted))
