"""The whole main path through the real command, on a part of the catalogue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import tezzeret_cli
from tests.support.command import ROOT
from tezzeret_cli.blueprints.construct import construct
from tezzeret_cli.errors import NoBundleError
from tezzeret_cli.trust import trusted_keys

CHOSEN = ("BP001", "BP005", "BP006", "BP013", "BP017", "BP020", "BP036", "BP045", "BP047")
SELECT = ["--approve", "*", *(part for name in CHOSEN for part in ("--select", name))]


@pytest.fixture(scope="module")
def compiled(tezzeret, tmp_path_factory):
    """A store with part of the catalogue, and the run that made it."""
    store = tmp_path_factory.mktemp("compiled") / "store"
    done = tezzeret.run("compile", "--store", str(store), "--json", *SELECT, timeout=900)
    return store, done


def reports(done) -> dict[str, dict]:
    return {job["blueprint_id"]: job for job in json.loads(done.stdout)["jobs"]}


def test_ordinary_blueprints_come_out_compiled_and_a_leak_falls_back(compiled):
    _, done = compiled
    assert done.returncode == 0, done.stderr
    statuses = {name: job["status"] for name, job in reports(done).items()}
    assert statuses == {name: "fallback" if name == "BP047" else "compiled" for name in CHOSEN}


def test_every_graph_is_in_the_bundles_one_library(compiled):
    store, done = compiled
    with_libraries = 0
    for job in reports(done).values():
        libraries = sorted(path.name for path in (store / job["bundle"]).glob("lib/*"))
        assert libraries in ([], ["graphs.so"]), job["notes"]
        with_libraries += bool(libraries)
        assert not [note for note in job["notes"] if "library" in note]
    assert with_libraries >= 6


def test_the_report_has_its_documented_shape(compiled):
    _, done = compiled
    report = json.loads(done.stdout)
    assert (report["schema"], report["command"]) == (1, "compile")
    assert sum(report["counts"].values()) == len(CHOSEN)
    wanted = {
        *("blueprint_id", "version", "status", "strategy", "duration_ms"),
        *("eager_fallback", "reason", "bundle"),
    }
    assert all(wanted <= job.keys() for job in report["jobs"])


def test_the_manifest_carries_urzas_names(compiled):
    store, done = compiled
    manifest = json.loads((store / reports(done)["BP020"]["bundle"] / "manifest.json").read_text())
    wanted = {
        *("guard_digest", "guard_spec", "guard_spec_summary", "compile_ms", "prewarm_ms"),
        *("prewarm_samples", "compile_strategy", "eager_fallback", "inductor_cache_dir", "tags", "version"),
    }
    assert wanted <= manifest.keys()
    assert manifest["guard_spec_summary"] == ["float32[[1..1024]x136x32]"]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", ["BP006", "BP013", "BP017", "BP020", "BP036"])
def test_a_bundle_of_the_catalogue_trains_like_eager_at_every_batch(compiled, tezzeret, name, training):
    store, _ = compiled
    bundle = tezzeret_cli.load(
        tezzeret_cli.find(store, name), on_guard_miss="raise", trust=trusted_keys(tezzeret.trusted)
    )
    manifest = bundle.tezzeret.manifest
    module, calls = construct(manifest.factory, manifest.parameters)
    module.load_state_dict(bundle.state_dict())
    bundle.train(training)
    module.train(training)
    for batch in (2 if name == "BP006" else 1, 3, 17):
        rows = [t[torch.arange(batch) % len(t)] + 0.1 * torch.randn(()) for t in calls[0]]
        mine = [t.clone().requires_grad_() for t in rows]
        theirs = [t.clone().requires_grad_() for t in rows]
        found, expected = bundle(*mine), module(*theirs)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        found.square().mean().backward()
        expected.square().mean().backward()
        for have, want in zip(mine, theirs, strict=True):
            torch.testing.assert_close(have.grad, want.grad, rtol=1e-3, atol=1e-4)


def test_an_unchanged_job_is_found_by_its_key_and_imports_no_torch(compiled, tezzeret):
    store, _ = compiled
    kept = SELECT
    code = (
        "import sys; from tezzeret_cli.cli.main import _run\n"
        "try: _run()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'safetensors', 'hypothesis'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "compile", "--store", str(store), "--json", *kept],
        env=tezzeret.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert {job["status"] for job in json.loads(done.stdout)["jobs"]} == {"cached"}
    assert done.stderr.splitlines()[-1] == "[]"


def test_explain_names_the_factor_that_changed(compiled, tezzeret):
    store, _ = compiled
    done = tezzeret.run(
        *("compile", "--store", str(store), "--select", "BP020", "--dry-run", "--explain"),
        *("--param", "sequence_length=64"),
    )
    assert "BP020: parameters: sequence_length=136 -> sequence_length=64" in done.stderr


def test_find_narrows_by_parameters_and_says_what_it_found_instead(compiled):
    store, _ = compiled
    assert tezzeret_cli.find(store, "BP020", {"sequence_length": 136}).parent.name == "BP020"
    with pytest.raises(NoBundleError, match=r"BP001 fits here: nowhere is no store"):
        tezzeret_cli.find("nowhere", "BP001")
    with pytest.raises(NoBundleError, match="sequence_length=136"):
        tezzeret_cli.find(store, "BP020", {"sequence_length": 16})


def living_children(marker: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_signal_ends_cleanly_without_child_or_half_bundle(tezzeret, store, number, code):
    marker = f"TEZZERET_TEST_RUN={os.urandom(8).hex()}"
    name, _, value = marker.partition("=")
    running = tezzeret.start("compile", "--store", str(store), "--select", "BP02*", "-vv", env={name: value})
    for line in running.stderr:
        if b"compile forward" in line:
            break
    running.send_signal(number)
    running.communicate(timeout=30)
    assert running.returncode == code
    deadline = time.monotonic() + 5
    while living_children(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert living_children(marker) == []
    assert list((store / "tmp").iterdir()) == []
    assert list(store.glob("bundles/*/*")) == []


def test_a_full_store_is_a_clear_error_and_leaves_no_half_bundle(tezzeret, small_disk):
    store = small_disk("48k")
    done = tezzeret.run("compile", "--store", str(store), "--select", "BP005", timeout=300)
    assert done.returncode in (1, 2)
    assert "No space left on device" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert list(store.glob("bundles/*/*")) == []


def test_a_full_cache_is_a_clear_error_and_no_fallback(tezzeret, small_disk, tmp_path):
    """The compiler takes away what did not fit, so that afterwards there is room again. The run can be
    resumed."""
    store, cache = tmp_path / "store", small_disk("4m")
    options = ("--store", str(store), "--cache", str(cache), "--select", "BP005")
    done = tezzeret.run("compile", *options, timeout=300)
    assert done.returncode == 2
    assert f"cache {cache}: No space left on device; free some space and run" in done.stderr
    assert list(store.glob("bundles/*/*")) == []
    left = tezzeret.run("resume", "--store", str(store), "--list", "--json")
    assert [run["life"] for run in json.loads(left.stdout)["runs"]] == ["dead"]


def test_help_imports_nothing_heavy(tezzeret):
    code = (
        "import sys; from tezzeret_cli.cli import main\n"
        "heavy = {'torch', 'numpy', 'msgspec', 'google', 'psutil'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


HEAVY = ("torch", "numpy", "pydantic", "psutil", "redis", "tezzeret_cli.runtime")
LEAN = {
    "stats": (("stats", "--store", "{store}", "--json"), (*HEAVY, "cryptography")),
    "gc": (("gc", "--store", "{store}", "--dry-run"), (*HEAVY, "cryptography")),
    "compile, unchanged": (("compile", "--store", "{store}", "--select", "BP001"), HEAVY),
    "compile, unchanged, unsigned": (
        ("compile", "--store", "{store}", "--select", "BP001", "--sign", "none"),
        (*HEAVY, "cryptography"),
    ),
}
"""What must start fast, and what it must not import for that."""


@pytest.mark.parametrize(("arguments", "heavy"), LEAN.values(), ids=LEAN.keys())
def test_a_subcommand_imports_nothing_heavy(tezzeret, tmp_path_factory, arguments, heavy):
    store = tmp_path_factory.getbasetemp() / "lean-store"
    if not (store / "bundles" / "BP001").exists():
        made = tezzeret.run("compile", "--store", str(store), "--select", "BP001", timeout=300)
        assert made.returncode == 0, made.stderr
    code = (
        "import atexit, sys\nfrom tezzeret_cli.cli.main import main\n"
        f"atexit.register(lambda: print([n for n in {heavy!r} if n in sys.modules], file=sys.stderr))\n"
        "main()"
    )
    words = [word.format(store=store) for word in arguments]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=tezzeret.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
