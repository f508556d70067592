"""Canonical JSON (RFC 8785) and the digests over it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
import rfc8785

from tezzeret_cli.model.manifest import Manifest, TensorGuard


def canonical(manifest: Manifest) -> bytes:
    """The exact bytes of ``manifest.json``."""
    return rfc8785.dumps(msgspec.to_builtins(manifest))


def is_guard_digest(digest: str, guards: Sequence[TensorGuard]) -> bool:
    """Whether ``digest`` is ``guard_digest(guards)``; fast when it is."""
    # Canonical, but for how some numbers are written.
    plain = msgspec.json.encode(list(guards), order="sorted")
    return hashlib.sha256(plain).hexdigest() == digest or guard_digest(guards) == digest


def guard_digest(guards: Sequence[TensorGuard]) -> str:
    """sha256 (hex) of the canonical ``guard_spec``."""
    return hashlib.sha256(rfc8785.dumps(msgspec.to_builtins(list(guards)))).hexdigest()
