"""Strategies, approvals and conservative mode, by the real command."""

from __future__ import annotations

import json

import pytest

from tests.support.command import ROOT
from tezzeret_cli.bundle.read import read_manifest
from tezzeret_cli.trust import trusted_keys

APPROVALS = ROOT / "fixtures" / "approvals.toml"


def job(done) -> dict:
    (found,) = json.loads(done.stdout)["jobs"]
    return found


def compiled(tezzeret, store, *args, **options):
    return tezzeret.run("compile", "--store", str(store), "--json", *args, timeout=300, **options)


@pytest.mark.parametrize("name", ["fast", "emergency"])
def test_a_cheaper_strategy_makes_a_bundle_that_says_so(tezzeret, store, name):
    env = {"TEZZERET_EMERGENCY_TIMEOUT_S": "100"}
    done = compiled(tezzeret, store, "--select", "BP009", "--strategy", name, env=env)
    assert done.returncode == 0, done.stderr
    assert (job(done)["status"], job(done)["strategy"]) == ("compiled", name)
    manifest = read_manifest(store / job(done)["bundle"])[0]
    assert manifest.compile_strategy == name
    assert manifest.compiler_ms > 0
    assert all(variant.inference is None for variant in manifest.variants)
    assert not [note for note in manifest.notes if "wrapper" in note or "container" in note]
    library = (store / job(done)["bundle"] / "lib/graphs.so").read_bytes()
    assert b"libtorch_cpu.so" in library
    assert b"AOTI_RUNTIME_CHECK_INPUTS" not in library  # a lean wrapper asks for no such variable


def test_emergency_compiles_for_the_cpu_whatever_was_asked_for(tezzeret, store):
    env = {"TEZZERET_EMERGENCY_TIMEOUT_S": "100"}
    asked = ("--select", "BP001", "--strategy", "emergency", "--device", "cuda")
    done = compiled(tezzeret, store, *asked, env=env)
    assert done.returncode == 0, done.stderr
    assert read_manifest(store / job(done)["bundle"])[0].target.device == "cpu"


def test_a_build_that_takes_too_long_is_made_by_the_next_strategy(tezzeret, store):
    env = {"TEZZERET_STANDARD_TIMEOUT_S": "0.5", "TEZZERET_TIMEOUT_FAILURES": "1"}
    done = compiled(tezzeret, store, "--select", "BP009", env=env)
    assert done.returncode == 0, done.stderr
    assert (job(done)["status"], job(done)["strategy"]) == ("compiled", "fast")
    assert job(done)["notes"][0] == "standard: not done after 0.5 s; tried with fast"
    report = json.loads(done.stdout)
    assert report["breakers"]["timeout"] == "open"

    later = compiled(tezzeret, store, "--select", "BP001", env=env)
    assert job(later)["strategy"] == "fast"
    assert job(later)["strategy_reason"] == "the timeout breaker is open"
    assert "conservative mode: the timeout breaker is open" in later.stderr


def test_aggressive_has_to_be_allowed(tezzeret, store):
    refused = compiled(tezzeret, store, "--select", "BP002", "--strategy", "aggressive")
    assert refused.returncode == 2
    assert "--allow-aggressive" in refused.stderr
    assert not store.exists()


def test_conservative_mode_refuses_aggressive(tezzeret, store):
    asked = ("--select", "BP001", "--strategy", "aggressive", "--allow-aggressive", "--conservative")
    done = compiled(tezzeret, store, *asked)
    assert (job(done)["strategy"], job(done)["strategy_reason"]) == ("fast", "it was asked for")


def test_auto_says_why(tezzeret, store):
    done = compiled(tezzeret, store, "--select", "BP001", "--strategy", "auto", "--dry-run")
    assert (job(done)["strategy"], job(done)["status"]) == ("standard", "skipped")
    done = compiled(tezzeret, store, "--select", "BP001", "--strategy", "auto")
    assert job(done)["strategy_reason"] == "auto: nothing speaks against it"


def test_what_needs_approval_is_skipped_without_it(tezzeret, store):
    done = compiled(tezzeret, store, "--select", "BP047")
    assert done.returncode == 0, done.stderr
    assert (job(done)["status"], job(done)["reason_kind"]) == ("skipped", "needs_approval")
    assert job(done)["reason"] == "it needs approval: --approve BP047"
    assert not list(store.glob("bundles/*"))


@pytest.mark.parametrize("how", [("--approve", "memory_*"), ("--approvals", str(APPROVALS))])
def test_approval_comes_from_a_flag_or_a_file(tezzeret, store, how):
    done = compiled(tezzeret, store, "--select", "BP047", "--dry-run", *how)
    assert job(done)["reason_kind"] == "dry_run"


def test_a_bundle_with_nan_is_marked_and_nobody_gets_it_unasked(tezzeret, store, tmp_path):
    import tezzeret_cli
    from tezzeret_cli.errors import NoBundleError, QuarantinedError

    (tmp_path / "d.json").write_text('{"blueprint_id": "T", "name": "nan_source"}')
    (tmp_path / "p.toml").write_text(
        '[[blueprint]]\nmatch = "*"\nfactory = "tests.bundle.blueprints:nan_source"\n'
    )
    args = (str(tmp_path / "d.json"), "--profile", str(tmp_path / "p.toml"))
    done = compiled(tezzeret, store, *args, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    bundle = store / job(done)["bundle"]
    assert "NaN" in (read_manifest(bundle)[0].quarantine or "")
    trust = trusted_keys(tezzeret.trusted)
    with pytest.raises(QuarantinedError):
        tezzeret_cli.load(bundle, trust=trust)
    with pytest.raises(NoBundleError, match="in quarantine"):
        tezzeret_cli.find(store, "T")
    assert tezzeret_cli.find(store, "T", quarantined=True) == bundle
    tezzeret_cli.load(bundle, quarantined=True, trust=trust)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--strategy", "hasty"), "unknown strategy"),
        (("--jobs", "-1"), "negative"),
        (("--timeout", "-5"), "seconds above 0"),
        (("--memory", "1M"), "less than a build needs"),
        (("--approvals", "/nowhere.toml"), "No such file"),
    ],
)
def test_bad_input_is_one_clear_line(tezzeret, store, args, said):
    done = tezzeret.run("compile", "--store", str(store), "--select", "BP001", *args)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert not store.exists()


@pytest.mark.parametrize("text", ["approve = 5", "approve = [", 'allow = ["BP001"]', b"\xff\xfe"])
def test_an_approvals_file_that_does_not_parse_is_refused(tezzeret, store, tmp_path, text):
    path = tmp_path / "approvals.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = tezzeret.run("compile", "--store", str(store), "--approvals", str(path))
    assert done.returncode == 2
    assert str(path) in done.stderr


def test_without_a_compiler_bundles_are_fallbacks(tezzeret, store, tmp_path):
    for tool in ("env", "sh"):
        (tmp_path / tool).symlink_to(f"/bin/{tool}" if tool == "sh" else "/usr/bin/env")
    done = compiled(tezzeret, store, "--select", "BP002", env={"PATH": str(tmp_path)})
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("warning: there is no C++ compiler") == 1
    assert (job(done)["status"], job(done)["reason"]) == ("fallback", "there is no C++ compiler")
