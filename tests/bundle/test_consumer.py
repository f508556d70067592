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


DESCRIPTORS = """
import json, os, sys
import torch
from tezzeret_cli.runtime import library, load
if sys.argv[3:] == ["by-number"]:
    library._path = lambda descriptor: f"/proc/self/fd/{descriptor}"
def opened():
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [os.readlink(link) for link in links if os.path.islink(link)]
x = torch.randn(8, 16, requires_grad=True)
before = opened()
for path in sys.argv[1:3]:
    module = load(path, on_guard_miss="raise")
    module.eval()
    if path == sys.argv[1]:
        module(x).sum().backward()
with open("/proc/self/maps") as maps:
    mapped = len({line.split()[4] for line in maps if "/memfd:" in line})
print(json.dumps({"more": [name for name in opened() if name not in before], "mapped": mapped}))
"""


def test_libraries_keep_no_descriptor_and_are_told_apart_all_the_same(forged, consumer):
    """The linker knows libraries by path, and descriptor numbers are used again."""
    paths = str(forged.path("mlp")), str(forged.path("encoder"))
    done = consumer(DESCRIPTORS, *paths)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["more"] == []
    assert found["mapped"] >= 2
    mistaken = consumer(DESCRIPTORS, *paths, "by-number")
    assert mistaken.returncode or json.loads(mistaken.stdout)["mapped"] < found["mapped"]
