"""From whom a user believes to the policy that holds for it."""

from __future__ import annotations

from tezzeret_cli.model.trust import Trust
from tezzeret_cli.trust.policy import Policy, TrustedIdentity, TrustedKeys
from tezzeret_cli.trust.trusted import trusted_keys


def policy_of(trust: Trust) -> Policy:
    """Raises ``InputError`` for a file that cannot be read or is something else."""
    if trust.identity:
        return TrustedIdentity(trust.identity, trust.issuer, trust.trusted_root)
    return TrustedKeys.from_files(trust.keys) if trust.keys else trusted_keys(trust.folder)
