"""The libraries of a bundle: small, the same bytes each time, compiled once."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from pathlib import Path

import pytest

from tests.support.command import ROOT, Command

TORCH = tuple(int(part) for part in importlib.metadata.version("torch").split(".")[:2])

COUNTING_COMPILER = """#!/bin/sh
case " $* " in *" -c "*) echo "$*" >> {log} ;; esac
exec g++ "$@"
"""


def libraries(bundle: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((bundle / "lib").iterdir())}


def exported(library: Path) -> set[str]:
    listed = subprocess.run(
        ["nm", "--dynamic", "--defined-only", "--format=posix", str(library)],
        check=True,
        capture_output=True,
        text=True,
    )
    return {line.split()[0] for line in listed.stdout.splitlines()}


@pytest.mark.parametrize("name", ["mlp", "encoder", "tied_embedding"])
def test_a_library_is_small_and_exports_the_interface_alone(forged, name):
    assert [library.name for library in (forged.path(name) / "lib").iterdir()] == ["graphs.so"]
    for library in (forged.path(name) / "lib").iterdir():
        assert library.stat().st_size < 200_000
        names = exported(library)
        assert "AOTInductorModelContainerCreateWithDevice" in names
        assert all(symbol.startswith("AOTInductor") for symbol in names)
    notes = json.loads((forged.path(name) / "manifest.json").read_text())["notes"]
    assert not [note for note in notes if "container" in note]


def test_a_graph_with_a_tensor_of_its_own_has_aotinductors_container_and_is_named(forged):
    sizes = {library.stem: library.stat().st_size for library in (forged.path("constant") / "lib").iterdir()}
    large = [name for name, size in sizes.items() if size > 200_000]
    assert large
    notes = forged.jobs["constant"]["notes"]
    for name in large:
        said = f"{name} has a library of its own, with AOTInductor's container: it has tensors of its own"
        assert said in notes


REFUSING_COMPILER = """#!/bin/sh
case " $* " in *" -c wrapper.cpp "*) echo "wrapper.cpp:7: error: not this one" >&2; exit 1 ;; esac
exec g++ "$@"
"""


def test_where_the_compiler_refuses_one_library_each_graph_has_its_own_and_the_log_says_why(
    tmp_path, tezzeret
):
    compiler = tmp_path / "refusing-g++"
    compiler.write_text(REFUSING_COMPILER)
    compiler.chmod(0o755)
    store = tmp_path / "store"
    options = ("--store", str(store), "--select", "BP002", "--strategy", "fast", "-v")
    done = tezzeret.run("compile", *options, env={"CXX": str(compiler)}, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stderr.splitlines()]
    assert "the compiler refused one library for all graphs: wrapper.cpp:7: error: not this one" in lines
    libraries = [path.stem for path in store.glob("bundles/BP002/*/lib/*")]
    assert sorted(libraries) == ["v0.backward", "v0.forward"]
    for name in libraries:
        said = f"{name} has a library of its own, with AOTInductor's container: its code was not wanted"
        assert said in lines


@pytest.fixture
def compile_mlp(tmp_path: Path, tezzeret: Command):
    """Compile ``mlp`` into a new store; the bundle, and how often the compiler compiled."""
    log = tmp_path / "compiled.log"
    compiler = tmp_path / "counting-g++"
    compiler.write_text(COUNTING_COMPILER.format(log=log))
    compiler.chmod(0o755)
    (tmp_path / "d.json").write_text('{"blueprint_id": "T", "name": "mlp"}')
    (tmp_path / "p.toml").write_text(
        '[[blueprint]]\nmatch = "mlp"\nfactory = "tests.bundle.blueprints:mlp"\n'
    )

    def run(store: str, cache: str) -> tuple[Path, int]:
        log.write_text("")
        paths = ("--store", str(tmp_path / store), "--profile", str(tmp_path / "p.toml"))
        done = tezzeret.run(
            "compile",
            str(tmp_path / "d.json"),
            *paths,
            "--json",
            env={"CXX": str(compiler), "XDG_CACHE_HOME": str(tmp_path / cache)},
            cwd=ROOT,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        bundle = tmp_path / store / json.loads(done.stdout)["jobs"][0]["bundle"]
        return bundle, len(log.read_text().splitlines())

    return run


@pytest.mark.skipif(
    TORCH < (2, 13), reason="older releases name arrays of sizes by identity, differently in each run"
)
def test_the_same_code_gives_the_same_bytes_and_is_compiled_once(compile_mlp):
    first, compiled = compile_mlp("first", "cache")
    again, compiled_again = compile_mlp("again", "cache")
    elsewhere, compiled_elsewhere = compile_mlp("elsewhere", "other-cache")
    assert (compiled, compiled_again, compiled_elsewhere) == (2, 0, 2)
    assert libraries(first) == libraries(again) == libraries(elsewhere)


THREADS = """
import os, sys
import torch, tezzeret_cli

torch.set_num_threads(4)
bundle = tezzeret_cli.load(sys.argv[1], on_guard_miss="raise", prefer="compiled")

def started(batch):
    before = len(os.listdir("/proc/self/task"))
    with torch.no_grad():
        x = torch.full((batch, 64), 0.5).requires_grad_()
    bundle(x).backward(torch.ones(()).expand(batch, 64))
    assert x.grad is not None
    return len(os.listdir("/proc/self/task")) - before

print(started(8), started(200), started(1024))
"""


def test_little_work_stays_on_one_thread_and_more_is_shared(relu, consumer):
    path, _ = relu
    done = consumer(THREADS, str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0", "3"]
