"""The keys that this user trusts: public keys in ``trusted-keys.d``, a file each.

Trusting a key is putting its file there, retiring it is taking it away; the next load sees that.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

from tezzeret_cli.errors import InputError
from tezzeret_cli.settings import config_folder
from tezzeret_cli.trust.policy import TrustedKeys

TRUSTED = "trusted-keys.d"
SUFFIXES = (".pem", ".pub")

_Stamp = tuple[tuple[str, int, int, int], ...]
_known: dict[str, tuple[_Stamp, TrustedKeys]] = {}
_lock = threading.Lock()


def trusted_folder(config: Path) -> Path:
    """The folder of trusted keys; ``config`` is Tezzeret's folder below the XDG configuration."""
    return config / TRUSTED


def trusted_keys(folder: str | os.PathLike[str] | None = None) -> TrustedKeys:
    """The policy that trusts the keys in ``folder``, by default this user's ``trusted-keys.d``.

    Files that do not end in .pem or .pub are passed over. The keys are parsed again only when a file has
    changed. Raises ``InputError`` for a file that is not a public key.
    """
    path = os.fspath(folder) if folder is not None else os.fspath(default_folder(os.environ))
    stamp = _look(path)
    with _lock:
        known = _known.get(path)
        if known is None or known[0] != stamp:
            keys = TrustedKeys.from_files([os.path.join(path, name) for name, *_ in stamp], where=path)
            known = _known[path] = (stamp, keys)
        return known[1]


def default_folder(environment: Mapping[str, str]) -> Path:
    return trusted_folder(config_folder(environment))


def _look(folder: str) -> _Stamp:
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIXES) and not entry.name.startswith("."):
                    status = entry.stat()
                    found.append((entry.name, status.st_ino, status.st_size, status.st_mtime_ns))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise InputError(f"trusted keys {folder}: {error.strerror}", advice="check the folder") from error
    return tuple(sorted(found))
