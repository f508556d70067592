"""``tezzeret verify`` and ``compile --sign`` through the real command."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.support.command import Command
from tests.support.signing import KEY, LINEAGE, STRANGER, manifest, sign, write

NEXT = f"1.0.1+{LINEAGE}"


@pytest.fixture
def home(tmp_path):
    """The command in a home of its own, where ``KEY`` is trusted."""
    command = Command(tmp_path / "home")
    command.trusted.mkdir(parents=True)
    (command.trusted / "publisher.pem").write_bytes(KEY.public.pem)
    return command


@pytest.fixture
def signed(store):
    """A store with three signed bundles."""
    (store / "tmp").mkdir(parents=True)
    (store / "store.json").write_text('{"format":1,"store_id":"0123456789abcdef0123456789abcdef"}\n')
    for version in (manifest().version, NEXT):
        write(store / "bundles" / "BP001" / version, version=version)
    other = manifest().descriptor.__class__("BP002", "identity_passthrough")
    write(store / "bundles" / "BP002" / NEXT, blueprint_id="BP002", descriptor=other, version=NEXT)
    return store


def report(done):
    return json.loads(done.stdout)


def test_a_store_in_order_is_verified_and_says_by_whom(home, signed):
    done = home.run("verify", str(signed))
    assert (done.returncode, done.stderr) == (0, "3 verified, 0 failed\n")
    assert done.stdout.count("signed by a key you trust: publisher") == 3
    found = report(home.run("verify", "--store", str(signed), "--json"))
    assert found["counts"] == {"verified": 3, "failed": 0}
    assert {b["key"] for b in found["bundles"]} == {KEY.public.hint}
    assert home.run("verify", str(signed), "--quiet").stdout == ""


def test_on_a_terminal_the_table_begins_a_line_and_is_in_columns(home, signed):
    code, shown = home.on_terminal("verify", str(signed))
    assert code == 0, shown
    heading, *rows, counts = [line.rpartition("\r")[2] for line in shown.strip("\n").split("\n")]
    assert heading.split() == ["bundle", "version", "status", "signed", "by", "problem"]
    assert {row.index("verified") for row in rows} == {heading.index("status")}
    assert (len(rows), counts) == (3, "3 verified, 0 failed")


def test_one_damaged_bundle_fails_the_store_and_is_named(home, signed):
    path = signed / "bundles" / "BP001" / NEXT / "tensors.safetensors"
    path.write_bytes(b"tensorS")
    done = home.run("verify", str(signed), "--json")
    assert done.returncode == 4
    failed = [b for b in report(done)["bundles"] if not b["ok"]]
    assert [(b["blueprint_id"], b["version"], b["problem_kind"]) for b in failed] == [
        ("BP001", NEXT, "damaged")
    ]


def test_what_fails_is_put_into_the_stores_telemetry_where_that_can_be_written(home, signed):
    assert home.run("verify", str(signed)).returncode == 0
    assert not (signed / "telemetry").exists()
    damaged = signed / "bundles" / "BP001" / NEXT
    (damaged / "tensors.safetensors").write_bytes(b"tensorS")
    assert home.run("verify", str(signed), env={"TEZZERET_TELEMETRY": "0"}).returncode == 4
    assert not (signed / "telemetry").exists()
    for named in (signed, damaged):
        assert home.run("verify", str(named)).returncode == 4
    (path,) = (signed / "telemetry").glob("*.jsonl")
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [entry["level"] for entry in entries] == ["error"] * 2
    for entry in entries:
        (event,) = entry["events"]
        assert event["description"] == "tezzeret.verify_failed"
        about = event["attributes"]
        assert (about["bundle"], about["reason_kind"]) == (f"bundles/BP001/{NEXT}", "damaged")
    shutil.rmtree(signed / "telemetry")
    (signed / "telemetry").write_text("in the way")
    done = home.run("verify", str(signed))
    assert (done.returncode, done.stderr.count("warning: no telemetry is kept")) == (4, 1)


@pytest.mark.parametrize("what", ["manifest", "file", "folder", "link"])
def test_what_stands_where_bundles_are_and_is_none_is_a_failure(home, signed, what):
    place = signed / "bundles" / "BP001"
    if what == "manifest":
        (place / NEXT / "manifest.json").unlink()
    elif what == "file":
        (place / "notes.txt").write_text("x")
    elif what == "folder":
        (place / "notes").mkdir()
    else:
        (signed / "bundles" / "BP003").symlink_to(place)
    done = home.run("verify", str(signed), "--json")
    assert (done.returncode, report(done)["counts"]["failed"]) == (4, 1)


def test_many_bundles_are_verified_by_several_processes_in_order(home, store):
    versions = [f"1.0.{patch}+{LINEAGE}" for patch in range(40)]
    for version in versions:
        write(store / "bundles" / "BP001" / version, version=version)
    (store / "bundles" / "BP001" / versions[7] / "guards.txt").write_bytes(b"")
    done = home.run("verify", str(store), "--json", "-j", "3")
    assert done.returncode == 4
    found = report(done)
    assert sorted(b["bundle"] for b in found["bundles"]) == [b["bundle"] for b in found["bundles"]]
    assert [b["version"] for b in found["bundles"] if not b["ok"]] == [versions[7]]


def test_a_single_bundle_and_its_manifest_can_be_named(home, signed):
    bundle = signed / "bundles" / "BP001" / NEXT
    for path in (bundle, bundle / "manifest.json"):
        assert home.run("verify", str(path)).returncode == 0


def test_a_key_given_is_the_only_one_trusted(home, signed, tmp_path):
    bundle = signed / "bundles" / "BP001" / NEXT
    for key, code in ((KEY, 0), (STRANGER, 4)):
        (tmp_path / "key.pub").write_bytes(key.public.pem)
        assert home.run("verify", str(bundle), "--key", str(tmp_path / "key.pub")).returncode == code
    (home.trusted / "publisher.pem").unlink()
    done = home.run("verify", str(bundle), "--json")
    assert done.returncode == 4
    assert report(done)["bundles"][0]["problem_kind"] == "untrusted"


def test_expectations_decide(home, signed):
    bundle = str(signed / "bundles" / "BP001" / NEXT)
    digest = report(home.run("verify", bundle, "--json"))["bundles"][0]["manifest_sha256"]
    good = ("--expect-id", "BP001", "--expect-version", "1.0.1", "--expect-digest", digest)
    assert home.run("verify", bundle, *good).returncode == 0
    for flag, value in (
        ("--expect-id", "BP002"),
        ("--expect-version", "1.0.0"),
        ("--expect-digest", "0" * 64),
    ):
        assert home.run("verify", bundle, flag, value).returncode == 4


@pytest.mark.parametrize(
    "flags",
    [
        ("--cert-identity", "me@example.com"),
        ("--cert-identity", "me@example.com", "--cert-oidc-issuer", "https://x"),
        ("--cert-identity", "", "--cert-oidc-issuer", "https://x", "--trusted-root", "r.json"),
        ("--cert-identity", "me@example.com", "--cert-oidc-issuer", "", "--trusted-root", "r.json"),
        ("--cert-identity", "me", "--cert-oidc-issuer", "https://x", "--trusted-root", "missing.json"),
        ("--key", "missing.pem"),
        ("--expect-digest", "abc"),
        ("--expect-id", ""),
    ],
    ids=" ".join,
)
def test_half_a_policy_is_a_usage_error(home, signed, flags):
    done = home.run("verify", str(signed), *flags)
    assert done.returncode == 2
    assert done.stderr.startswith("tezzeret: error: ")


def test_a_path_with_nothing_there_is_a_usage_error(home, tmp_path):
    assert home.run("verify", str(tmp_path / "nothing")).returncode == 2
    assert home.run("verify").returncode == 2


def test_in_ci_no_key_is_made_and_nothing_is_written(tmp_path, store):
    command = Command(tmp_path / "home")
    done = command.run("compile", "--store", str(store), "--select", "BP001", env={"CI": "true"})
    assert done.returncode == 2
    assert "--sign keyless or --sign none" in done.stderr
    assert not store.exists()
    assert not (tmp_path / "home" / "config").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ("--sign", "maybe"),
        ("--sign", "none", "--key", "k.pem"),
        ("--trust-config", "t.json"),
        ("--identity-token", "x"),
        ("--key", "missing.pem"),
        ("--sign", "keyless", "--trust-config", "missing.json"),
    ],
    ids=" ".join,
)
def test_ways_to_sign_that_make_no_sense_are_usage_errors(tmp_path, store, flags):
    command = Command(tmp_path / "home")
    done = command.run("compile", "--store", str(store), "--select", "BP001", *flags)
    assert done.returncode == 2, done.stderr
    assert not store.exists()


def test_what_nobody_trusted_signed_is_not_cached_but_said_and_made_anew(tezzeret, store, tmp_path):
    """Signed by a stranger, then by a key that is retired: each time a new version, by a trusted key."""
    home = Command(tmp_path / "home")
    cache = {"XDG_CACHE_HOME": tezzeret.environment["XDG_CACHE_HOME"]}

    def compile_one(*flags):
        words = ("compile", "--store", str(store), "--select", "BP001", "--json", *flags)
        done = home.run(*words, env=cache, timeout=300)
        assert done.returncode == 0, done.stderr
        (job,) = report(done)["jobs"]
        return job["status"], (job["version"] or "")[:5], done.stderr

    assert compile_one()[:2] == ("compiled", "1.0.0")
    status, _, said = compile_one()
    assert (status, "does not count" in said) == ("cached", False)
    (bundle,) = (store / "bundles" / "BP001").iterdir()
    (bundle / "bundle.sigstore.json").write_bytes(sign((bundle / "manifest.json").read_bytes(), STRANGER))
    status, _, said = compile_one("--dry-run")
    assert status == "skipped"
    assert f"BP001: unchanged, but its bundle {bundle.name} does not count: it is signed by a key" in said
    status, version, said = compile_one()
    assert (status, version) == ("compiled", "1.0.1")
    assert "does not count: it is signed by a key that is not trusted" in said
    made = bundle.with_name(bundle.name.replace("1.0.0", "1.0.1"))
    assert home.run("verify", str(made)).returncode == 0
    new = tmp_path / "new.pem"
    new.write_bytes(KEY.pem(None))
    new.chmod(0o600)
    assert compile_one("--key", str(new))[:2] == ("cached", "1.0.1")
    for path in home.trusted.iterdir():
        path.unlink()
    assert compile_one("--key", str(new))[:2] == ("compiled", "1.0.2")
    assert compile_one("--key", str(new))[:2] == ("cached", "1.0.2")


def test_signed_unsigned_and_rolled_back(tezzeret, store, tmp_path):
    """One blueprint through the real forge: signed by default, unsigned when asked for, and never older."""
    compile_one = ("compile", "--store", str(store), "--select", "BP001", "--json")
    assert tezzeret.run(*compile_one, "--sign", "none", timeout=300).returncode == 0
    done = tezzeret.run("verify", str(store), "--json")
    assert done.returncode == 4
    assert "published unsigned, by --sign none" in report(done)["bundles"][0]["problem"]
    again = tezzeret.run(*compile_one, "--explain", timeout=300)
    assert "is not signed as asked for (key)" in again.stderr
    (job,) = report(again)["jobs"]
    assert (job["status"], job["version"][:5]) == ("compiled", "1.0.1")
    made = json.loads((store / job["bundle"] / "manifest.json").read_text())
    assert (made["signing"], made["signature"]) == ("key", "bundle.sigstore.json")
    bundle = store / job["bundle"]
    done = tezzeret.run("verify", str(bundle), "--load", "--json", timeout=300)
    assert (done.returncode, report(done)["bundles"][0]["proof"]) == (0, "loads and equals eager")
    (unsigned,) = [path for path in bundle.parent.iterdir() if path != bundle]
    shutil.rmtree(bundle)
    found = report(tezzeret.run("verify", str(store), "--json"))
    assert [b["problem_kind"] for b in found["bundles"]] == ["untrusted", "rollback"]
    assert unsigned.name in found["bundles"][1]["problem"]
