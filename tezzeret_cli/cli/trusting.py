"""Whom to believe: the flags that commands share which open bundles."""

from __future__ import annotations

from collections.abc import Sequence

from tezzeret_cli.errors import InputError
from tezzeret_cli.model.trust import Trust


def read_trust(
    keys: Sequence[str], identity: str | None, issuer: str | None, trusted_root: str | None
) -> Trust:
    """Whom the flags say. Raises ``InputError`` for half an identity, and for a key beside one."""
    wanted = (identity, issuer, trusted_root)
    if all(value is None for value in wanted):
        return Trust(keys=tuple(keys))
    if not all(wanted):
        raise InputError(
            "--cert-identity, --cert-oidc-issuer and --trusted-root go together, and none may be empty",
            advice="give all three",
        )
    if keys:
        raise InputError("--key and --cert-identity exclude each other", advice="run the command twice")
    return Trust(identity=identity or "", issuer=issuer or "", trusted_root=trusted_root or "")
