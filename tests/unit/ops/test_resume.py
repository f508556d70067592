"""A run that stopped anywhere is finished as if nothing had happened, and what is damaged is named."""

from __future__ import annotations

import shutil

import msgspec
import pytest

from tests.support.forging import FACTS, Simulator, forge, job, plan, script
from tests.support.signing import KEY, STRANGER, sign
from tezzeret_cli.bundle.read import read_files, read_manifest, read_signature
from tezzeret_cli.bundle.scan import published
from tezzeret_cli.errors import InputError, JournalDamagedError, UnfinishedRunError
from tezzeret_cli.model.manifest import Signing
from tezzeret_cli.model.report import Status
from tezzeret_cli.model.run import SigningOptions
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.ops.resume import resume_run
from tezzeret_cli.trust import TrustedKeys
from tezzeret_cli.trust.signer import KeySigner

NAMES = ("BP001", "BP002", "BP003")


@pytest.fixture
def stopped(store):
    """A run over three jobs that was stopped after the first; ``parts`` of the forge that ran it."""
    loops = []

    def stop_at_second(step, request):
        if request is not None and request.job.blueprint_id == "BP002":
            loops[0].stop()
        return script(step, request)

    parts = forge(store, Simulator(stop_at_second), on_start=loops.append)
    report = compile_blueprints(plan(store, [job(name) for name in NAMES], workers=1), parts)
    assert report.interrupted
    assert [j.status for j in report.jobs] == [Status.COMPILED, Status.SKIPPED, Status.SKIPPED]
    return parts


def resume(store, facts=FACTS):
    simulator = Simulator(script)
    parts = forge(store, simulator)
    (run,) = parts.runs.unfinished()
    report = resume_run(parts, parts.runs.reopen(run), lambda plan: facts)
    return report, simulator


def statuses(report):
    return [j.status for j in report.jobs]


def test_the_rest_of_the_plan_is_done_and_nothing_twice(store, stopped):
    report, simulator = resume(store)
    assert statuses(report) == [Status.COMPILED] * 3
    assert simulator.started == ["build", "prove"] * 2
    assert len(list(published(store))) == 3
    assert not report.interrupted
    assert stopped.runs.all_open() == frozenset()


def test_a_compile_beside_an_unfinished_run_is_refused_with_the_way_out(store, stopped):
    with pytest.raises(UnfinishedRunError, match="tezzeret resume --store"):
        compile_blueprints(plan(store, [job("BP009")]), forge(store, Simulator(script)))


def test_a_damaged_bundle_is_kept_as_evidence_and_made_again(store, stopped):
    (item,) = published(store)
    (item.path / "lib" / "v0.forward.so").write_bytes(b"ELF")
    report, _ = resume(store)
    assert statuses(report) == [Status.COMPILED] * 3
    assert any("is damaged and was kept as quarantine/" in line for line in report.recovered)
    (kept,) = (store / "quarantine").iterdir()
    assert (kept / "lib" / "v0.forward.so").read_bytes() == b"ELF"
    assert len(list(published(store))) == 3


@pytest.mark.parametrize("leave_folder", [True, False], ids=["empty folder", "nothing"])
def test_a_bundle_that_is_gone_is_made_again(store, stopped, leave_folder):
    (item,) = published(store)
    shutil.rmtree(item.path)
    if leave_folder:
        item.path.mkdir()
    report, _ = resume(store)
    assert statuses(report) == [Status.COMPILED] * 3
    assert len(list(published(store))) == 3
    assert any("BP001" in line for line in report.recovered)


def test_a_bundle_that_the_journal_does_not_know_proves_that_records_were_lost(store, stopped):
    (run,) = stopped.runs.unfinished()
    (item,) = published(store)
    manifest, _ = read_manifest(item.path)
    assert manifest.run == run
    shutil.copytree(item.path, item.path.with_name("1.0.7+cpu-avx2-000000"))
    with pytest.raises(JournalDamagedError, match="acknowledged records were lost"):
        resume(store)


def test_another_toolchain_cannot_finish_the_plan(store, stopped):
    with pytest.raises(InputError, match=r"planned with torch 2\.13\.0, here is 2\.14\.0"):
        resume(store, msgspec.structs.replace(FACTS, torch="2.14.0"))
    report, _ = resume(store)
    assert statuses(report) == [Status.COMPILED] * 3


def stop_at_rename(monkeypatch):
    """A run dies when its first bundle is durable where it was staged, and on record."""

    def die(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("tezzeret_cli.store.publish.move_into_place", die)


def signed_forge(store, key):
    return msgspec.structs.replace(forge(store, Simulator(script)), signer=KeySigner(lambda: key))


def signed_plan(store):
    return plan(store, [job("BP001")], signing=SigningOptions(Signing.KEY, "/key.pem"))


@pytest.mark.parametrize("damage", ["nothing", "signature gone", "signature forged"])
def test_nothing_becomes_visible_without_the_signature_that_was_asked_for(store, monkeypatch, damage):
    with monkeypatch.context() as patched:
        stop_at_rename(patched)
        with pytest.raises(KeyboardInterrupt):
            compile_blueprints(signed_plan(store), signed_forge(store, KEY))
    assert list(published(store)) == []
    for path in store.glob("tmp/run-*/*/bundle.sigstore.json"):
        if damage == "signature gone":
            path.unlink()
        elif damage == "signature forged":
            path.write_bytes(sign((path.parent / "manifest.json").read_bytes(), STRANGER))
    parts = signed_forge(store, KEY)
    (run,) = parts.runs.unfinished()
    report = resume_run(parts, parts.runs.reopen(run), lambda plan: FACTS)
    assert statuses(report) == [Status.COMPILED]
    (item,) = published(store)
    manifest, data = read_manifest(item.path)
    assert manifest.signing is Signing.KEY
    TrustedKeys([KEY.public]).verify(manifest, data, read_signature(item.path))
    read_files(item.path, manifest)


def test_a_job_that_another_run_has_done_meanwhile_is_not_done_again(store, stopped):
    (run,) = stopped.runs.unfinished()
    ledger = stopped.runs.reopen(run)
    other = Simulator(script)
    compile_blueprints(plan(store, [job("BP002")]), forge(store, other))
    assert other.started == ["build", "prove"]
    simulator = Simulator(script)
    report = resume_run(forge(store, simulator), ledger, lambda plan: FACTS)
    assert statuses(report) == [Status.COMPILED, Status.CACHED, Status.COMPILED]
    assert simulator.started == ["build", "prove"]


def test_a_job_that_a_live_run_is_doing_is_waited_for(store):
    from tezzeret_cli.runs.claims import Claims

    first = forge(store, Simulator(script))
    first.runs.begin(plan(store, [job("BP001")])).close()
    (run,) = first.runs.unfinished()
    claim = Claims(first.runs.claims).claim(job("BP001").key)
    seen = []

    class Releasing:
        def on_event(self, event):
            seen.append(event)
            if "another run is doing it" in str(event):
                claim.release()

    parts = forge(store, Simulator(script), observer=Releasing())
    report = resume_run(parts, parts.runs.reopen(run), lambda plan: FACTS)
    assert statuses(report) == [Status.COMPILED]
    assert any("another run is doing it" in str(event) for event in seen)
