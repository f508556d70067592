"""The resume operation: settle what a dead run left half done, and do the rest of its plan."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from tezzeret_cli.blueprints.resolve import Resolver
from tezzeret_cli.bundle.read import MANIFEST, read_files, read_manifest, read_signature
from tezzeret_cli.bundle.scan import published
from tezzeret_cli.errors import BundleError, InputError, JournalDamagedError
from tezzeret_cli.model.events import Notice
from tezzeret_cli.model.job import Job
from tezzeret_cli.model.manifest import Signing
from tezzeret_cli.model.records import JobStaged
from tezzeret_cli.model.report import Report
from tezzeret_cli.model.run import HostFacts, RunPlan
from tezzeret_cli.ops.execute import Forge, execute, skipped_reports
from tezzeret_cli.runs.ledger import JobLedger, Ledger
from tezzeret_cli.runs.state import RunState
from tezzeret_cli.store.layout import Store, explained
from tezzeret_cli.store.publish import keep_in_place, move_into_place
from tezzeret_cli.store.quarantine import quarantine
from tezzeret_cli.trust.signer import Signer


def resume_run(
    forge: Forge, ledger: Ledger, facts_of: Callable[[RunPlan], HostFacts], *, command: str = "resume"
) -> Report:
    """Finish the run whose journal is ``ledger``: the same plan and options, and the report that it would
    have given, with what was recovered. ``facts_of`` reads what this host would contribute now.

    Raises ``InputError`` when the host or a source is not what the run was planned with,
    ``JournalDamagedError`` when the store proves that the journal lost records, ``StoreError`` and
    ``JournalError``.
    """
    state = ledger.state
    plan = state.plan
    assert plan is not None
    try:
        refuse_lost_records(ledger, forge.store)
        refuse_changed(ledger.run_id, state, plan, facts_of(plan))
        recovered = recover(ledger, plan, forge.store, forge.signer)
    except BaseException:
        ledger.close()
        raise
    for line in recovered:
        forge.observer.on_event(Notice("info", f"recovered: {line}"))
    finished = {**ledger.state.finished, **skipped_reports(plan)}
    return execute(forge, ledger, plan, finished, command=command, recovered=recovered)


def to_do(state: RunState) -> list[Job]:
    """The jobs of a run that did not end yet."""
    assert state.plan is not None
    return list(state.left.values())


def refuse_changed(run_id: str, state: RunState, plan: RunPlan, facts: HostFacts) -> None:
    """Raise ``InputError`` when what is left to do would not come out as it was planned."""
    advice = f"give the run up with: tezzeret resume --store {plan.store} --abandon {run_id}"
    for name in HostFacts.__struct_fields__:
        before, now = getattr(plan.facts, name), getattr(facts, name)
        if before != now:
            raise InputError(f"run {run_id}: planned with {name} {before}, here is {now}", advice=advice)
    resolver = Resolver()
    for job in to_do(state):
        path = None if job.factory.builtin else job.factory.path
        if resolver.resolve(job.descriptor, path).digest != job.factory.digest:
            raise InputError(f"run {run_id}: the source of {job.factory.path} has changed", advice=advice)


def refuse_lost_records(ledger: Ledger, store: Store) -> None:
    """Raise ``JournalDamagedError`` when a bundle of this run is visible that its journal does not know.

    The record of a bundle is durable before the bundle can be seen.
    """
    state = ledger.state
    known = {done.report.bundle for done in state.done.values()}
    known |= {job.staged.bundle for job in state.open.values() if job.staged}
    for blueprint_id in sorted({job.blueprint_id for job in state.plan.jobs} if state.plan else ()):
        for item in published(store.root, blueprint_id):
            bundle = item.path.relative_to(store.root).as_posix()
            try:
                run = read_manifest(item.path)[0].run
            except BundleError:
                continue
            if run == ledger.run_id and bundle not in known:
                raise JournalDamagedError(
                    f"run {run}: it published {bundle}, and its journal does not know that: "
                    "acknowledged records were lost",
                    path=Path(ledger.run_id),
                    offset=0,
                    last_good=0,
                    advice=f"give the run up with --abandon {run}, and look after this host's disk",
                )


def recover(ledger: Ledger, plan: RunPlan, store: Store, signer: Signer) -> list[str]:
    """Settle every job that was under way, and look after every bundle that was published; what was done,
    a line each."""
    lines = [ledger.cut_off] if ledger.cut_off else []
    for txn, job in list(ledger.state.open.items()):
        part = ledger.open_job(txn)
        name = plan.jobs[job.number].blueprint_id
        if job.staged is None:
            part.lost("its process died")
            lines.append(f"{name} was under way and is done again")
        else:
            lines.append(f"{name} {_settle(part, job.staged, store, signer)}")
    for number, done in list(ledger.state.done.items()):
        bundle = done.report.bundle
        if bundle is None or _holds(store.root / bundle, done.manifest_sha256):
            continue
        path = store.root / bundle
        kept = "is another one now" if _is_sound(path) else _put_aside(store, path)
        ledger.job(number, plan.jobs[number].key).lost("its bundle is damaged")
        lines.append(f"{done.report.blueprint_id}: its bundle {bundle} {kept}, and it is done again")
    return lines


def _settle(part: JobLedger, staged: JobStaged, store: Store, signer: Signer) -> str:
    """Bring a publication that was interrupted to its end, or give it up; how, in words."""
    folder, final = store.root / staged.folder, store.root / staged.bundle
    if _holds(final, staged.manifest_sha256):
        with explained(store.root):
            keep_in_place(final)
        part.ended(staged.report)
        return f"was published as {staged.bundle}; the record of that was made up for"
    if _holds(folder, staged.manifest_sha256) and _is_signed(folder, signer):
        with store.publishing(), explained(store.root):
            try:
                move_into_place(folder, final)
            except FileExistsError:
                part.lost("its version was taken meanwhile")
                return "was about to be published, but its version was taken; it is done again"
        part.ended(staged.report)
        return f"was complete, and was published as {staged.bundle}"
    kept = [_put_aside(store, path) for path in (folder, final) if path.exists() and not _is_sound(path)]
    part.lost("its bundle is not whole")
    return "; ".join(["was about to be published, but is not whole", *kept, "it is done again"])


def _holds(bundle: Path, sha256: str | None) -> bool:
    """Whether the bundle with this manifest is there, every file of it intact."""
    try:
        manifest, data = read_manifest(bundle)
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            return False
        read_files(bundle, manifest)
    except BundleError:
        return False
    return True


def _is_signed(bundle: Path, signer: Signer) -> bool:
    """Whether the signature is there as the run asked for it: nothing else may become visible."""
    try:
        manifest, data = read_manifest(bundle)
        asked = manifest.signing or Signing.NONE
        return asked is signer.how and signer.accepts(manifest, data, read_signature(bundle))
    except BundleError:
        return False


def _is_sound(bundle: Path) -> bool:
    return (bundle / MANIFEST).exists() and _holds(bundle, None)


def _put_aside(store: Store, path: Path) -> str:
    kept = quarantine(store, path)
    return f"is damaged and was kept as {kept}" if kept else "is gone"
