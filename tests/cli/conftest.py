"""Filesystems of their own for the tests of the command."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """``small_disk(size)``: a folder on a disk of its own of that size, as ``80k``."""
    with contextlib.ExitStack() as disks:

        def mount(size: str) -> Path:
            folder = _mounted(tmp_path / "small", "-o", f"size={size}")
            disks.callback(subprocess.run, ["umount", str(folder)], check=True)
            return folder

        yield mount


@pytest.fixture
def mounted(tmp_path):
    """A store on a filesystem of its own, that can be taken away."""
    store = _mounted(tmp_path / "mounted")
    yield store
    while os.path.ismount(store):
        subprocess.run(["umount", "-l", str(store)], check=True)


def _mounted(folder: Path, *options: str) -> Path:
    """A new folder with a filesystem in memory mounted there; skips the test where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not allow mounting")
    return folder
