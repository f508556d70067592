"""``tezzeret prewarm`` over real bundles, in real processes without a compiler."""

from __future__ import annotations

import io
import json
import shutil
import signal
import tarfile
import time

import jsonschema
import msgspec
import pytest
import zstandard

from tests.compat.test_golden_bundles import GOLDEN
from tests.support.command import ROOT, Command
from tests.support.signing import STRANGER, sign_as, sign_by
from tests.support.stores import put
from tezzeret_cli.bundle.read import read_manifest
from tezzeret_cli.bundle.target import mismatch
from tezzeret_cli.model.prewarm import Sample, VariantTimes
from tezzeret_cli.ops.prewarm import regression
from tezzeret_cli.store.layout import open_store
from tezzeret_cli.store.samples import append, path_of, read

IDENTITY = ("--cert-identity", "me", "--cert-oidc-issuer", "https://x", "--trusted-root", "r.json")
SCHEMA = json.loads((ROOT / "docs" / "schema" / "prewarm.schema.json").read_text())


@pytest.fixture
def bundle(tezzeret, store, tmp_path):
    """A golden bundle, signed by the command's key and published in a store."""
    opened = open_store(store)
    folder = tmp_path / "unpacked"
    data = zstandard.ZstdDecompressor().decompress(GOLDEN[0].read_bytes())
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(folder, filter="data")
    manifest, _ = read_manifest(folder)
    if reason := mismatch(manifest.target):
        pytest.skip(reason)
    target = opened.bundle(manifest.blueprint_id, manifest.version)
    target.parent.mkdir()
    sign_as(tezzeret, folder)
    folder.rename(target)
    return target


def warmed(tezzeret, *args: str, code: int = 0, cwd=None) -> list[dict]:
    done = tezzeret.run("prewarm", *args, "--json", timeout=300, cwd=cwd)
    assert done.returncode == code, done.stderr
    report = json.loads(done.stdout)
    jsonschema.validate(report, SCHEMA)
    return report["bundles"]


def test_every_variant_is_timed_and_the_sample_is_kept(tezzeret, store, bundle):
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    (found,) = warmed(tezzeret, str(store), "--repeat", "4")
    manifest, _ = read_manifest(bundle)
    assert (found["status"], found["regression"]) == ("warmed", None)
    assert [v["name"] for v in found["sample"]["variants"]] == [v.name for v in manifest.variants]
    for variant in found["sample"]["variants"]:
        assert len(variant["samples_ms"]) == 4
        assert 0 < variant["p50_ms"] <= variant["p95_ms"] == max(variant["samples_ms"])
        assert variant["first_ms"] > 0
        assert variant["eager_p50_ms"] > 0, variant["why"]
    (again,) = warmed(tezzeret, str(bundle), "--repeat", "2", "-j", "2")
    assert again["regression"] is None  # with another number of threads, it cannot be compared
    (third,) = warmed(tezzeret, "--store", str(store), "--repeat", "2", "--max-regression", "100000")
    assert isinstance(third["regression"], float)
    kept = read(store, manifest.blueprint_id, manifest.version)
    assert [len(sample.variants[0].samples_ms) for sample in kept] == [4, 2, 2]
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before


def test_a_bundle_that_regressed_is_named(tezzeret, store, bundle):
    (first,) = warmed(tezzeret, str(bundle), "--repeat", "2")
    sample = msgspec.convert(first["sample"], Sample)
    fast = tuple(msgspec.structs.replace(v, p50_ms=v.p50_ms / 1e6) for v in sample.variants)
    path = path_of(store, first["blueprint_id"], first["version"])
    path.unlink()
    append(store, first["blueprint_id"], first["version"], msgspec.structs.replace(sample, variants=fast))
    done = tezzeret.run("prewarm", str(bundle), "--repeat", "2", "--max-regression", "20%", timeout=300)
    assert done.returncode == 1
    assert f"warning: {first['blueprint_id']} {first['version']}: " in done.stderr
    assert "slower than its record, 20% allowed" in done.stderr
    assert "regressed" in done.stdout


def test_a_bundle_beside_a_store_is_warmed_and_nothing_is_kept(tezzeret, bundle, tmp_path):
    alone = tmp_path / "alone"
    shutil.copytree(bundle, alone)
    (found,) = warmed(tezzeret, str(alone / "manifest.json"), "--repeat", "2")
    assert (found["status"], found["regression"]) == ("warmed", None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "store"]


def test_damage_is_told_and_the_others_are_warmed(tezzeret, store, bundle):
    put(open_store(store), "BP002", "1.0.0+a", published=time.time())
    found = {item["blueprint_id"]: item for item in warmed(tezzeret, str(store), "--repeat", "1", code=1)}
    assert found["BP002"]["status"] == "failed"
    assert found["BP002"]["reason"]
    events = [event for line in telemetry(store) for event in json.loads(line)["events"]]
    (refused,) = [e["attributes"] for e in events if e["description"] == "tezzeret.verify_failed"]
    assert (refused["bundle"], refused["reason"]) == ("bundles/BP002/1.0.0+a", found["BP002"]["reason"])
    assert found[bundle.parent.name]["status"] == "warmed"


def test_a_store_signed_by_another_key_is_warmed_where_that_is_believed(store, bundle, tezzeret, tmp_path):
    (key,) = tezzeret.trusted.glob("*.pem")
    stranger = Command(tmp_path / "stranger")
    (found,) = warmed(stranger, str(store), "--repeat", "1", code=1)
    assert "it is signed by a key that is not trusted" in found["reason"]
    shutil.copy(key, tmp_path / "publisher.pem")
    asked = (str(store), "--repeat", "1", "--key", "publisher.pem")
    (found,) = warmed(stranger, *asked, cwd=tmp_path)
    assert found["status"] == "warmed"
    (tmp_path / "other.pem").write_bytes(STRANGER.public.pem)
    (found,) = warmed(tezzeret, str(store), "--key", str(tmp_path / "other.pem"), code=1)
    assert "other.pem" in found["reason"]


def test_a_store_signed_by_an_identity_is_warmed(store, bundle, tezzeret, tmp_path):
    pytest.importorskip("sigstore", reason="sigstore is not installed")
    from tests.support.sigstore import IDENTITY, ISSUER, Instance, token
    from tezzeret_cli.trust.keyless import keyless_signer

    instance = Instance()
    (tmp_path / "config.json").write_text(json.dumps(instance.trust_config()))
    sign_by(keyless_signer(tmp_path / "config.json", token()), bundle)
    (tmp_path / "root.json").write_text(json.dumps(instance.trusted_root()))
    instance.close()
    whom = ("--cert-oidc-issuer", ISSUER, "--trusted-root", "root.json")
    asked = (str(store), "--repeat", "1", *whom)
    (found,) = warmed(tezzeret, *asked, "--cert-identity", IDENTITY, cwd=tmp_path)
    assert found["status"] == "warmed"
    (found,) = warmed(tezzeret, *asked, "--cert-identity", "other@example.com", cwd=tmp_path, code=1)
    assert "not believed" in found["reason"]


def telemetry(store):
    return [line for path in store.glob("telemetry/*.jsonl") for line in path.read_text().splitlines()]


def test_a_factory_that_is_not_allowed_does_not_run(tezzeret, store, bundle):
    factory = read_manifest(bundle)[0].factory
    sign_as(tezzeret, bundle, factory=msgspec.structs.replace(factory, path="os:abort", builtin=False))
    (found,) = warmed(tezzeret, str(bundle), "--repeat", "1")
    (variant, *_) = found["sample"]["variants"]
    assert variant["eager_p50_ms"] is None
    assert variant["why"] == "the factory os:abort is not allowed to run"


def test_what_is_in_quarantine_is_not_loaded(tezzeret, store, bundle):
    sign_as(tezzeret, bundle, quarantine="not to be trusted")
    (found,) = warmed(tezzeret, str(bundle), "--repeat", "1")
    assert (found["status"], "not to be trusted" in found["reason"]) == ("quarantined", True)


def test_it_can_be_interrupted(tezzeret, store, bundle):
    running = tezzeret.start("prewarm", str(store), "--repeat", "100000000", "--json")
    time.sleep(2.0)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert json.loads(out)["interrupted"] is True


def test_one_that_is_killed_is_listed_and_ended_by_resume(tezzeret, store, bundle):
    def on_record():
        return set((tezzeret.home / "state").glob("tezzeret/*/open/*"))

    of_others = on_record()
    running = tezzeret.start("prewarm", str(store), "--repeat", "100000000")
    while on_record() <= of_others:
        time.sleep(0.05)
        assert running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=60)
    listed = json.loads(tezzeret.run("resume", "--store", str(store), "--list", "--json").stdout)
    (found,) = listed["runs"]
    assert (found["command"], found["life"], found["jobs"], found["done"]) == ("prewarm", "dead", 1, 0)
    told = tezzeret.run("resume", "--store", str(store), "--dry-run")
    assert f"run {found['run']}: a prewarm, would be ended; 0 of 1 bundles were measured" in told.stderr
    done = tezzeret.run("resume", "--store", str(store))
    assert done.returncode == 0
    assert f"run {found['run']}: a prewarm that did not end; 0 of 1 bundles were measured" in done.stderr
    listed = json.loads(tezzeret.run("resume", "--store", str(store), "--list", "--json").stdout)
    assert listed["runs"] == []


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("{tmp}",), "{tmp}: neither a bundle nor a store"),
        (("{store}", "--repeat", "0"), "--repeat 0: too small"),
        (("{store}", "-j", "0"), "--jobs 0: too small"),
        (("{store}", "--max-regression", "much"), "--max-regression much: not a share"),
        (("{store}", "--device", "tpu"), "--device tpu: unknown device"),
        (("{store}", "--key", "{tmp}/missing.pem"), "key {tmp}/missing.pem: No such file or directory"),
        (("{store}", "--cert-identity", "me@example.com"), "--cert-identity, --cert-oidc-issuer and"),
        (("{store}", "--key", "k.pem", *IDENTITY), "--key and --cert-identity exclude each other"),
        (("{empty}",), "{empty}: the store has no bundle"),
        ((), "no store is given"),
    ],
)
def test_bad_input_is_one_line(tezzeret, store, tmp_path, args, expected):
    put(open_store(store), "BP001", "1.0.0+a", published=time.time())
    names = {"store": store, "tmp": tmp_path, "empty": open_store(tmp_path / "empty").root}
    done = tezzeret.run("prewarm", *(word.format(**names) for word in args))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"tezzeret: error: {expected.format(**names)}")
    assert len(done.stderr.splitlines()) == 1


def times(name="v0", p50=1.0):
    return VariantTimes(name, 1.0, (p50,), p50, p50)


def sample(*variants, **changes):
    made = Sample(0.0, "host", "2.13", 2, "cpu", 1.0, variants or (times(),))
    return msgspec.structs.replace(made, **changes)


def test_a_regression_is_against_the_median_of_what_can_be_compared():
    earlier = [sample(times(p50=p50)) for p50 in (1.0, 1.0, 9.0)]
    assert regression(sample(times(p50=1.5)), earlier) == 0.5
    assert regression(sample(times(p50=0.5)), earlier) == -0.5
    assert regression(sample(times(p50=1.0), times("v1", 3.0)), [sample(times(), times("v1", 2.0))]) == 0.5
    for changes in ({"host": "other"}, {"torch": "2.15"}, {"threads": 1}, {"device": "cuda"}):
        assert regression(sample(**changes), earlier) is None
    assert regression(sample(), []) is None


def test_a_line_that_an_earlier_version_left_torn_is_passed_over(store):
    append(open_store(store).root, "BP001", "1.0.0+a", sample())
    path = path_of(store, "BP001", "1.0.0+a")
    with path.open("ab") as file:
        file.write(b'{"when": 1.0, "ho')
    append(store, "BP001", "1.0.0+a", sample(when=2.0))
    assert [found.when for found in read(store, "BP001", "1.0.0+a")] == [0.0, 2.0]
