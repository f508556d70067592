"""Stores with bundles of the modules in ``tests/bundle/blueprints.py``, as the real command makes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import tezzeret_cli
from tests.support.command import ROOT, Command
from tezzeret_cli.trust import Policy, trusted_keys

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


def forge(folder: Path, tezzeret: Command, names: Sequence[str], *options: str, returns: int = 0) -> Forged:
    """Compile these modules into ``folder / "store"``; the command must return ``returns``."""
    descriptors = [{"blueprint_id": f"T_{name}", "name": name} for name in names]
    (folder / "descriptors.json").write_text(json.dumps(descriptors))
    (folder / "profile.toml").write_text("".join(PROFILE.format(name=name) for name in names))
    store = folder / "store"
    profile = ("--profile", str(folder / "profile.toml"))
    command = ("compile", str(folder / "descriptors.json"), *profile, "--store", str(store), "--json")
    done = tezzeret.run(*command, *options, cwd=ROOT, timeout=600)
    assert done.returncode == returns, done.stderr
    return Forged(store, json.loads(done.stdout), trusted_keys(tezzeret.trusted))
