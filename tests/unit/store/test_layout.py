"""The layout of a store: several processes may make it at once."""

from __future__ import annotations

import os

import pytest

from tezzeret_cli.store import layout
from tezzeret_cli.store.staging import sweep


@pytest.mark.parametrize("step", ["sync", "os.link"])
def test_two_make_a_store_and_one_sweeps_it_before_the_other_is_done(tmp_path, monkeypatch, step):
    """What a crowd of forges met once in six hundred rounds."""
    root = tmp_path / "store"
    made = []

    def overtaken(*args):
        monkeypatch.undo()
        made.append(layout.open_store(root))
        sweep(made[0], keep=frozenset(), ended=lambda run: False)
        return real(*args)

    real = os.link if step == "os.link" else layout.sync
    monkeypatch.setattr(f"tezzeret_cli.store.layout.{step}", overtaken)
    assert layout.open_store(root).identity == made[0].identity
    assert list((root / "tmp").iterdir()) == []
