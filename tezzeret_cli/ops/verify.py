"""The verify operation: bundles and stores in, a report out. No Typer, no rich, no torch, no network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import msgspec

from tezzeret_cli.bundle.read import MANIFEST
from tezzeret_cli.bundle.scan import BUNDLES, published
from tezzeret_cli.bundle.version import Version, parse
from tezzeret_cli.errors import InputError, UntrustedBundleError, VerificationError, WorkerError
from tezzeret_cli.model.verification import BundleCheck, VerifyReport
from tezzeret_cli.store.layout import explained
from tezzeret_cli.store.retired import retired
from tezzeret_cli.trust.policy import Policy
from tezzeret_cli.trust.verify import Expected, runs_here, verify_bundle

SCHEMA = 1
CHUNK = 16
"""So many bundles are handed to a process at once; fewer than two chunks are verified in this one."""

OnChecked = Callable[[BundleCheck], None]
_job: tuple[Policy, Expected] | None = None


def bundles_of(path: Path) -> tuple[list[Path], bool]:
    """The bundles at ``path``, and whether it is a store. Whatever stands where a store keeps bundles is
    taken for one. Raises ``InputError`` when there is neither bundle nor store."""
    if path.name == MANIFEST:
        return [path.parent], False
    if (path / BUNDLES).is_dir() and not os.path.lexists(path / MANIFEST):
        return list(_in_store(path / BUNDLES)), True
    if not path.is_dir():
        raise InputError(f"{path}: no bundle or store is there", advice="check the path")
    return [path], False


def _in_store(root: Path) -> Iterator[Path]:
    for blueprint in sorted(root.iterdir()):
        if blueprint.is_symlink() or not blueprint.is_dir():
            yield blueprint
        else:
            yield from sorted(blueprint.iterdir())


def verify_all(
    bundles: Sequence[Path], policy: Policy, expected: Expected, workers: int, on_checked: OnChecked
) -> list[BundleCheck]:
    """Verify these bundles, ``workers`` processes at once; the checks in the order of ``bundles``. Raises
    ``WorkerError`` when a process dies."""
    checks = []
    if workers < 2 or len(bundles) < 2 * CHUNK:
        for bundle in bundles:
            checks.append(check_bundle(bundle, policy, expected))
            on_checked(checks[-1])
        return checks
    chunks = [bundles[at : at + CHUNK] for at in range(0, len(bundles), CHUNK)]
    # Forked: the policy's keys are there already, and nothing is imported again.
    pool = ProcessPoolExecutor(workers, get_context("fork"), initializer=_begin, initargs=(policy, expected))
    try:
        for answer in pool.map(_check_chunk, ([os.fspath(path) for path in chunk] for chunk in chunks)):
            for check in msgspec.msgpack.decode(answer, type=list[BundleCheck]):
                checks.append(check)
                on_checked(check)
    except BrokenProcessPool as error:
        raise WorkerError("a process that verified bundles died", advice="verify with --jobs 1") from error
    finally:
        pool.shutdown(cancel_futures=True)
    return checks


def _begin(policy: Policy, expected: Expected) -> None:
    global _job
    _job = policy, expected


def _check_chunk(paths: list[str]) -> bytes:
    assert _job is not None
    return msgspec.msgpack.encode([check_bundle(Path(path), *_job) for path in paths])


def check_bundle(bundle: Path, policy: Policy, expected: Expected) -> BundleCheck:
    """One bundle. Never raises for what it holds."""
    where = os.fspath(bundle)
    try:
        found = verify_bundle(bundle, policy, expected)
    except VerificationError as error:
        kind = "untrusted" if isinstance(error, UntrustedBundleError) else "damaged"
        return BundleCheck(where, False, *_place(bundle), problem=str(error), problem_kind=kind)
    manifest, by = found.manifest, found.signed_by
    return BundleCheck(
        bundle=where,
        ok=True,
        blueprint_id=manifest.blueprint_id,
        version=manifest.version,
        manifest_sha256=hashlib.sha256(found.data).hexdigest(),
        signing=by.how.value,
        key=by.key,
        key_name=by.name,
        identity=by.identity,
        issuer=by.issuer,
        signed_by=str(by),
        runs_here=runs_here(manifest),
        bytes=len(found.data) + sum(map(len, found.files.values())),
    )


def _place(bundle: Path) -> tuple[str | None, str | None]:
    """Which bundle should be here, as the folders say."""
    if parse(bundle.name) is None:
        return None, None
    return bundle.parent.name, bundle.name


def rollbacks(store: Path, known: Mapping[tuple[str, str], Version]) -> list[BundleCheck]:
    """The lineages whose newest bundle in the store is older than the highest version that is on record, and
    that the store does not say to have removed on purpose. Raises ``StoreError``."""
    newest: dict[tuple[str, str], Version] = {}
    for item in published(store):
        key = item.blueprint_id, item.version.lineage
        newest[key] = max(newest.get(key, item.version), item.version)
    found = []
    for (blueprint_id, lineage), highest in sorted(known.items()):
        have = newest.get((blueprint_id, lineage))
        with explained(store):
            gone = retired(store, blueprint_id, lineage)
        if (have is None or have < highest) and (gone is None or gone < highest):
            now = f"the store's newest is {have}" if have else "the store has none of its lineage"
            found.append(
                BundleCheck(
                    bundle=os.fspath(store / BUNDLES / blueprint_id / str(highest)),
                    ok=False,
                    blueprint_id=blueprint_id,
                    version=str(highest),
                    problem=f"rolled back: {highest} is on record as published, {now}",
                    problem_kind="rollback",
                )
            )
    return found


def make_verify_report(checks: Sequence[BundleCheck], notes: Sequence[str]) -> VerifyReport:
    failed = sum(not check.ok for check in checks)
    counts = {"verified": len(checks) - failed, "failed": failed}
    return VerifyReport(SCHEMA, "verify", tuple(checks), counts, tuple(notes))
