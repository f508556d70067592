"""``compile --shard`` through the real command: one store, several machines."""

from __future__ import annotations

import json

import msgspec
import pytest

from tests.support.forging import Simulator, forge, job, plan, script
from tezzeret_cli.bundle.read import read_manifest
from tezzeret_cli.errors import StoreError
from tezzeret_cli.model.run import Shard
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.ops.resume import resume_run
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.store.layout import open_store

NAMES = [f"S_{number}" for number in range(7)]


@pytest.fixture
def inputs(tmp_path):
    """Seven blueprints, and tools without a compiler among them, so that they fall back in a moment."""
    (tmp_path / "d.json").write_text(json.dumps([{"blueprint_id": n, "name": n} for n in NAMES]))
    (tmp_path / "p.toml").write_text(
        '[[blueprint]]\nmatch = "S_*"\nfactory = "tests.support.hostile_blueprints:healthy"\n'
    )
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "env").symlink_to("/usr/bin/env")
    (tools / "sh").symlink_to("/bin/sh")
    return (str(tmp_path / "d.json"), "--profile", str(tmp_path / "p.toml"))


def test_several_machines_fill_one_store_and_nothing_is_done_twice(tezzeret, store, inputs, tmp_path):
    env = {"PATH": str(tmp_path / "tools"), "PYTHONWARNINGS": "default"}
    running = [
        tezzeret.start(
            *("compile", *inputs, "--store", str(store), "--sign", "none", "-j", "1"),
            *("--shard", f"{number}/3", "--json", "--strategy", "fast"),
            env={**env, "XDG_STATE_HOME": str(tmp_path / f"machine{number}")},
        )
        for number in (1, 2, 3)
    ]
    ended = [(process.communicate(timeout=300)[0], process.returncode) for process in running]
    reports = [json.loads(out) for out, _ in ended]
    assert [code for _, code in ended] == [3, 3, 3]
    assert [report["shard"] for report in reports] == ["1/3", "2/3", "3/3"]
    done = [sorted(made["blueprint_id"] for made in report["jobs"]) for report in reports]
    assert sorted(name for part in done for name in part) == NAMES
    assert sorted(map(len, done)) == [2, 2, 3]
    bundles = sorted(store.glob("bundles/*/*"))
    assert [bundle.parent.name for bundle in bundles] == NAMES
    assert {read_manifest(bundle)[0].version.partition("+")[0] for bundle in bundles} == {"1.0.0"}
    assert list((store / "tmp").iterdir()) == []


def test_a_shard_without_jobs_is_done(tezzeret, store):
    done = tezzeret.run("compile", "--store", str(store), "--select", "BP001", "--shard", "2/2", "--json")
    assert (done.returncode, json.loads(done.stdout)["jobs"]) == (0, [])


@pytest.mark.parametrize("shard", ["0/8", "9/8", "x", "9" * 30 + "/" + "9" * 30])
def test_a_wrong_shard_is_one_clear_line(tezzeret, store, shard):
    done = tezzeret.run("compile", "--store", str(store), "--shard", shard)
    assert (done.returncode, done.stdout) == (2, "")
    expected = f"tezzeret: error: --shard {shard}: not a shard; write it like 2/8, from 1/8 to 8/8\n"
    assert done.stderr == expected
    assert not store.exists()


def test_a_run_that_died_is_known_by_its_shard_and_resumed(tezzeret, store):
    """The journal is a real one; its process died with a store that was gone."""

    def dies(step, request):
        raise StoreError("the store is gone")

    identity = open_store(store).identity
    made = msgspec.structs.replace(plan(store, [job("BP001"), job("BP002")]), shard=Shard(2, 3))
    with pytest.raises(StoreError, match="gone"):
        compile_blueprints(made, forge(store, Simulator(dies)))
    state = str(store.parent / "state")
    listed = tezzeret.run("resume", "--store", str(store), "--state", state, "--list")
    assert listed.stdout.rstrip().endswith("0 of 2 done, shard 2/3")
    looked = tezzeret.run("resume", "--store", str(store), "--state", state, "--dry-run", "--json")
    assert json.loads(looked.stdout)["shard"] == "2/3"
    runs = Runs(store.parent / "state", identity.store_id)
    (run,) = runs.unfinished()
    report = resume_run(forge(store, Simulator(script)), runs.reopen(run), lambda plan: plan.facts)
    assert (report.shard, [done.status for done in report.jobs]) == ("2/3", ["compiled", "compiled"])
