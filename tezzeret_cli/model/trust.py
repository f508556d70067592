"""Whom a user believes, as data that another process can be told."""

from __future__ import annotations

import msgspec


class Trust(msgspec.Struct, frozen=True):
    """The public ``keys`` in these files; or an ``identity`` of an ``issuer`` under the roots in the file
    ``trusted_root``; with neither, the keys in ``folder``, by default this user's ``trusted-keys.d``."""

    keys: tuple[str, ...] = ()
    identity: str = ""
    issuer: str = ""
    trusted_root: str = ""
    folder: str | None = None
