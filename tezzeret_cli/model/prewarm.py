"""What ``prewarm`` measures: requests to its worker, samples kept in the store, the report (schema 1)."""

from __future__ import annotations

import msgspec

from tezzeret_cli.model.trust import Trust


class VariantTimes(msgspec.Struct, frozen=True):
    """Milliseconds of one variant's calls, forward and backward together where it has a backward.

    ``first_ms`` is the first call in the process, ``samples_ms`` the steady ones; ``eager_*`` the same of the
    eager module, ``None`` where its factory cannot run here, with ``why`` not.
    """

    name: str
    first_ms: float
    samples_ms: tuple[float, ...]
    p50_ms: float
    p95_ms: float
    eager_first_ms: float | None = None
    eager_p50_ms: float | None = None
    eager_p95_ms: float | None = None
    why: str | None = None


class Sample(msgspec.Struct, frozen=True):
    """One measurement of a bundle. ``when`` is in seconds since 1970; what can be compared has the same
    ``host`` (a name of the processor), ``torch`` and ``threads``."""

    when: float
    host: str
    torch: str
    threads: int
    device: str
    load_ms: float
    variants: tuple[VariantTimes, ...]
    schema: int = 1


class PrewarmRequest(msgspec.Struct, frozen=True):
    """Load ``bundle`` and run every variant ``repeat`` times on ``device``; eager too, if its factory matches
    a pattern of ``allowed``. ``trust`` is whom to believe."""

    bundle: str
    repeat: int
    device: str | None = None
    allowed: tuple[str, ...] = ()
    trust: Trust = Trust()


class PrewarmResult(msgspec.Struct, frozen=True, tag="prewarmed"):
    """``sample`` of a bundle that runs compiled code; else ``problem`` says in one line why there is none.
    ``fallback`` bundles have nothing to warm, and those in ``quarantine`` are not loaded. ``refused`` is
    ``damaged`` or ``untrusted`` for one that could not be verified."""

    sample: Sample | None = None
    fallback: bool = False
    quarantine: bool = False
    refused: str | None = None
    problem: str | None = None


class Prewarmed(msgspec.Struct, frozen=True):
    """One bundle of the report. ``status`` is ``warmed``, ``fallback``, ``quarantined``, ``regressed`` or
    ``failed``; ``regression`` is how much slower its slowest variant is than its record, 0.1 for 10 %."""

    blueprint_id: str
    version: str
    bundle: str
    status: str
    sample: Sample | None = None
    regression: float | None = None
    reason: str | None = None


class PrewarmReport(msgspec.Struct, frozen=True):
    schema: int
    bundles: tuple[Prewarmed, ...]
    counts: dict[str, int]
    interrupted: bool = False
    command: str = "prewarm"
