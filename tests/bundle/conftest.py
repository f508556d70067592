"""Bundles of the modules in ``blueprints.py``, compiled once per test run by the real command."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import tezzeret_cli
from tests.bundle import blueprints
from tests.support.command import ROOT, Command
from tezzeret_cli.trust import Policy, trusted_keys

NAMES = (
    "mlp",
    "encoder",
    "views",
    "tied_embedding",
    "counter",
    "options",
    "saves_view",
    "saves_output",
    "looks_at_mask",
    "tells_width",
    "ranks",
    "drawn",
    "switches",
    "constant",
    "convolved",
    "detached",
    "cancelling",
    "rotated",
    "filtered",
    "bag",
    "recurrent",
    "squeezed",
    "sparse",
    "asks_for_gradients",
    "data_dependent",
    "overwriting",
    "bad_factory",
)

PROFILE = """
[[blueprint]]
match = "{name}"
factory = "tests.bundle.blueprints:{name}"
"""


class Forged:
    """A store with one bundle per module, the report of the run that made it, and whom to trust for it."""

    def __init__(self, store: Path, report: dict[str, object], trust: Policy) -> None:
        self.store = store
        self.trust = trust
        jobs = report["jobs"]
        assert isinstance(jobs, list)
        self.jobs = {job["name"]: job for job in jobs}

    def path(self, name: str) -> Path:
        return self.store / self.jobs[name]["bundle"]

    def load(self, name: str, **options: object) -> tezzeret_cli.runtime.BundleModule:
        options.setdefault("allow_factories", ["tests.bundle.*"])
        options.setdefault("trust", self.trust)
        return tezzeret_cli.load(self.path(name), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def forged(tmp_path_factory: pytest.TempPathFactory, tezzeret: Command) -> Forged:
    folder = tmp_path_factory.mktemp("forged")
    descriptors = [{"blueprint_id": f"T_{name}", "name": name} for name in NAMES]
    (folder / "descriptors.json").write_text(json.dumps(descriptors))
    (folder / "profile.toml").write_text("".join(PROFILE.format(name=name) for name in NAMES))
    store = folder / "store"
    done = tezzeret.run(
        "compile",
        str(folder / "descriptors.json"),
        "--profile",
        str(folder / "profile.toml"),
        "--store",
        str(store),
        "--json",
        cwd=ROOT,
        timeout=600,
    )
    assert done.returncode == 1, done.stderr
    return Forged(store, json.loads(done.stdout), trusted_keys(tezzeret.trusted))


@pytest.fixture(scope="session")
def relu(tezzeret: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A bundle of the catalogue's relu and the job's report, as the real command made them."""
    store = tmp_path_factory.mktemp("relu") / "store"
    # With two jobs each has one thread, and the proof compares processor time, whatever else runs here.
    command = ("compile", "--store", str(store), "--select", "BP005", "--json", "--jobs", "2")
    done = tezzeret.run(*command, timeout=300)
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)["jobs"]
    return store / report["bundle"], report


@pytest.fixture
def eager():
    """``eager(name)``: the module as its factory builds it under the forge's seed, and its example."""
    import torch

    def make(name: str):
        random.seed(0)
        torch.manual_seed(0)
        return getattr(blueprints, name)({})

    return make
