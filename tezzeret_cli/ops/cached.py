"""Whether the bundle that is there for a job counts as done: whole, signed as asked, by whom is trusted."""

from __future__ import annotations

from typing import NamedTuple

from tezzeret_cli.bundle.read import read_manifest, read_signature
from tezzeret_cli.bundle.scan import Published
from tezzeret_cli.errors import DamagedBundleError
from tezzeret_cli.model.job import Job
from tezzeret_cli.model.manifest import Manifest, Signing
from tezzeret_cli.store.catalogue import Catalogue, is_intact
from tezzeret_cli.trust.signer import Doubts


class Cached(NamedTuple):
    """The newest bundle that was made for a job. ``problem`` says why it does not count, for people."""

    item: Published
    manifest: Manifest
    problem: str | None


def look_up(catalogue: Catalogue, job: Job, how: Signing, doubts: Doubts) -> Cached | None:
    """What a store has for a job, ``None`` for nothing; ``how`` it should be signed. An older bundle than the
    newest is not looked at: consumers would be given the newest."""
    found = catalogue.made_for(job.blueprint_id, job.key)
    return Cached(*found, _problem(*found, how, doubts)) if found else None


def _problem(item: Published, manifest: Manifest, how: Signing, doubts: Doubts) -> str | None:
    if how not in (Signing.NONE, manifest.signing):
        return f"it is not signed as asked for ({how})"
    if not is_intact(item.path, manifest):
        return "it is damaged: a file is missing, added, or of another size"
    if how is Signing.NONE:
        return None
    try:
        again, data = read_manifest(item.path)
        signature = read_signature(item.path)
    except DamagedBundleError as error:
        return str(error)
    return doubts(again, data, signature)
