"""Who made a bundle, and whether to believe it: keys, signatures, provenance, and their verification.

Torch-free. ``load(path, trust=...)`` takes a policy from here; a bundle never says itself how it is to be
verified.
"""

from __future__ import annotations

from tezzeret_cli.trust.policy import (
    UNVERIFIED,
    Pinned,
    Policy,
    SignedBy,
    TrustedIdentity,
    TrustedKeys,
    Unverified,
)
from tezzeret_cli.trust.trusted import trusted_keys

__all__ = [
    "UNVERIFIED",
    "Pinned",
    "Policy",
    "SignedBy",
    "TrustedIdentity",
    "TrustedKeys",
    "Unverified",
    "trusted_keys",
]
