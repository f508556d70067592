"""The consumer never compiles: no compiler, an empty PATH, an empty cache, and nothing executed."""

from __future__ import annotations

import json
import shutil

import pytest

TRAIN = """
import json, os, sys, time
import torch, tezzeret_cli
from tezzeret_cli.runtime import load
os.access("/imports-are-done", os.F_OK)
started = time.perf_counter()
module = load(sys.argv[1], on_guard_miss="raise")
x = torch.randn(8, 16, requires_grad=True)
out = module(x)
out.sum().backward()
elapsed = time.perf_counter() - started
heavy = [m for m in sys.modules if m.split(".")[:2] in (["torch", "_inductor"], ["torch", "_dynamo"])]
print(json.dumps({"ms": elapsed * 1e3, "heavy": heavy, "pickle": "pickle" in sys.modules}))
"""


def test_a_process_without_compiler_trains_from_a_bundle(forged, consumer):
    done = consumer(TRAIN, str(forged.path("mlp")))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["heavy"] == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_process_is_started_between_import_and_gradient(forged, consumer):
    strace = shutil.which("strace")
    traced = "trace=execve,execveat,access,faccessat,faccessat2"
    done = consumer(TRAIN, str(forged.path("mlp")), prefix=(strace, "-f", "-e", traced))
    assert done.returncode == 0, done.stderr
    before, marker, after = done.stderr.partition("/imports-are-done")
    assert before.count("execve(") >= 1
    assert marker
    assert "execve" not in after


def test_the_parent_of_a_store_may_be_read_only(forged, tmp_path, consumer):
    copy = tmp_path / "copy"
    shutil.copytree(forged.path("mlp"), copy)
    for path in copy.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    copy.chmod(0o555)
    assert consumer(TRAIN, str(copy)).returncode == 0
