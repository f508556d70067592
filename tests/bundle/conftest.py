"""Bundles of the modules in ``blueprints.py``, compiled once per test run by the real command."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.bundle import blueprints
from tests.support.command import Command
from tests.support.forged import Forged, forge

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


@pytest.fixture(scope="session")
def forged(tmp_path_factory: pytest.TempPathFactory, tezzeret: Command) -> Forged:
    return forge(tmp_path_factory.mktemp("forged"), tezzeret, NAMES, returns=1)


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
