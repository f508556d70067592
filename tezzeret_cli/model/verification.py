"""What ``verify`` found, bundle by bundle: the report of its ``--json`` (schema 1) and its exit code."""

from __future__ import annotations

import msgspec

from tezzeret_cli.errors import ExitCode


class BundleCheck(msgspec.Struct, frozen=True):
    """One bundle, or something in a bundle's place. ``problem`` is one line for people, ``None`` when all is
    well; ``problem_kind`` is ``damaged``, ``untrusted``, ``rollback`` or ``proof``.

    ``signing`` is how the signature was verified: ``key`` with ``key`` (its hint) and ``key_name``,
    ``keyless`` with ``identity`` and ``issuer``. ``runs_here`` is ``None`` or why this machine cannot run it,
    which is no problem of the bundle. ``proof`` says what ``--load`` found. ``bytes`` is what was hashed.
    """

    bundle: str
    ok: bool
    blueprint_id: str | None = None
    version: str | None = None
    manifest_sha256: str | None = None
    signing: str | None = None
    key: str | None = None
    key_name: str | None = None
    identity: str | None = None
    issuer: str | None = None
    signed_by: str | None = None
    problem: str | None = None
    problem_kind: str | None = None
    runs_here: str | None = None
    proof: str | None = None
    bytes: int = 0


class VerifyReport(msgspec.Struct, frozen=True):
    """``counts`` has ``verified`` and ``failed``. ``notes`` are what could not be looked at, a line each."""

    schema: int
    command: str
    bundles: tuple[BundleCheck, ...]
    counts: dict[str, int]
    notes: tuple[str, ...] = ()


def verify_exit_code(report: VerifyReport) -> ExitCode:
    return ExitCode.OK if all(check.ok for check in report.bundles) else ExitCode.VERIFICATION_FAILED
