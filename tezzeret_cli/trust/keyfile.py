"""The signing key as a file: made on first use, whole and private from the start, and trusted here."""

from __future__ import annotations

import os
import secrets
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tezzeret_cli.errors import InputError, SettingsError
from tezzeret_cli.files import write_new
from tezzeret_cli.trust.trusted import trusted_folder

if TYPE_CHECKING:
    from tezzeret_cli.trust.ecdsa import PrivateKey

KEY_FILE = "signing-key.pem"
_LIMIT = 64 << 10


def default_key(config: Path) -> Path:
    """Where the key of this user is: ``config`` is Tezzeret's folder below the XDG configuration."""
    return config / KEY_FILE


def read_key(path: Path, passphrase: bytes | None) -> PrivateKey:
    """The private key in a file. Raises ``InputError`` when it cannot be read, is not an ECDSA key on P-256,
    does not open with ``passphrase``, or may be read by others."""
    from tezzeret_cli.trust import ecdsa

    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            pem = file.read(_LIMIT)
    except OSError as error:
        raise InputError(f"key {path}: {error.strerror}", advice="check --key") from error
    if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
        raise InputError(f"key {path}: others may read it", advice=f"close it with: chmod 600 {path}")
    return ecdsa.read_private(pem, passphrase, path.stem, f"key {path}")


def make_key(config: Path, passphrase: bytes | None) -> Path:
    """Make the key of this user where there is none, and trust it on this machine; where it is.

    The public half is written first, so that what the key signs is always trusted here. A key that another
    process makes meanwhile is left as it is. Raises ``SettingsError`` when it cannot be written.
    """
    from tezzeret_cli.trust import ecdsa

    path = default_key(config)
    try:
        if path.exists():
            return path
        trusted = trusted_folder(config)
        trusted.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = ecdsa.generate(path.stem)
        name = f"{_host()}-{secrets.token_hex(4)}.pem"
        write_new(trusted / name, key.public.pem, 0o644)
        if not write_new(path, key.pem(passphrase), 0o600):
            (trusted / name).unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(
            f"signing key {path}: {error.strerror}",
            advice="give a key with --key PATH, or ask for --sign none",
        ) from error
    return path


def _host() -> str:
    name = "".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in socket.gethostname())
    return name.strip("-")[:40] or "host"
