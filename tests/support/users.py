"""Become an ordinary user, as only root can."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys

import pytest

from tests.support.command import ROOT

NOBODY = 65534
PATHS = os.pathsep.join([str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))])
"""Where an interpreter finds this tree and what it needs, also one that has another home."""


def python_for_all() -> str:
    """An interpreter of this version that anybody may run: this one may stand in its owner's home."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    system = shutil.which(
        f"python{sys.version_info[0]}.{sys.version_info[1]}", path="/usr/local/bin:/usr/bin"
    )
    for candidate in (sys.executable, system):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(
                [candidate or "", "-c", "import tests.unit.worker.marked_pool"],
                env={"PYTHONPATH": PATHS},
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                check=True,
                capture_output=True,
            )
            return str(candidate)
    pytest.skip("no interpreter that an ordinary user may run")
