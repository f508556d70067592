"""What ``gc`` does, as data: its rules, what goes and why, and its report (schema 1)."""

from __future__ import annotations

import enum

import msgspec


class Kind(enum.StrEnum):
    """``bundle``: a published bundle. ``staging``: what a run that is over left in the store. ``record``:
    notes on a bundle that is gone. ``spool``: old telemetry. ``journal``: the journal of a run that ended.
    ``cache``: compiled headers and objects. ``scratch``: a run's private folder in the cache."""

    BUNDLE = "bundle"
    STAGING = "staging"
    RECORD = "record"
    SPOOL = "spool"
    JOURNAL = "journal"
    CACHE = "cache"
    SCRATCH = "scratch"


class Rules(msgspec.Struct, frozen=True):
    """``ttl_s``: bundles unused for longer go; ``keep``: the newest of each lineage that stay whatever their
    age; ``max_bytes``: of all bundles together; ``pins``: globs of what never goes. ``None`` is no rule.
    ``cache_ttl_s`` and ``journal_ttl_s`` are for caches, and for journals and telemetry."""

    ttl_s: float | None = None
    keep: int | None = None
    max_bytes: int | None = None
    pins: tuple[str, ...] = ()
    cache_ttl_s: float = 30 * 86400.0
    journal_ttl_s: float = 90 * 86400.0


class Item(msgspec.Struct, frozen=True, gc=False):
    """Something that goes. ``path`` is absolute, ``bytes`` what is freed, ``used`` the last use in seconds
    since 1970."""

    kind: Kind
    path: str
    bytes: int
    reason: str
    used: float = 0.0


class Kept(msgspec.Struct, frozen=True, gc=False):
    """Something that the rules would remove, and that stays because of ``reason``."""

    path: str
    reason: str


class GcPlan(msgspec.Struct, frozen=True):
    """A collection as it was asked for. ``created`` is in seconds since 1970."""

    tool: str
    store_id: str
    store: str
    cache: str
    rules: Rules
    created: float


class GcReport(msgspec.Struct, frozen=True):
    """How a collection ended. ``removed`` is what went, or would go in a dry run; ``failed`` what could not
    be removed. ``bundle_bytes`` is the size of the bundles that are left; ``run`` the id in the journal."""

    schema: int
    dry_run: bool
    removed: tuple[Item, ...]
    kept: tuple[Kept, ...]
    failed: tuple[Kept, ...]
    freed_bytes: int
    bundle_bytes: int
    run: str | None = None
    interrupted: bool = False
    command: str = "gc"
