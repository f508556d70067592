"""A small disk for the tests of the command."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """``small_disk(size)``: a folder on a disk of its own of that size, as ``80k``."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    with contextlib.ExitStack() as mounted:

        def mount(size: str) -> Path:
            options = ["-t", "tmpfs", "-o", f"size={size}"]
            done = subprocess.run(["mount", *options, "tmpfs", str(folder)], capture_output=True, check=False)
            if done.returncode:
                pytest.skip("this machine does not allow mounting")
            mounted.callback(subprocess.run, ["umount", str(folder)], check=True)
            return folder

        yield mount
