"""The real command as an ordinary user: in a user namespace, files are what they are to that user outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.users import NOBODY, PATHS, python_for_all

FACTORY = """
import getpass, os
from pathlib import Path
import torch

def of_the_user(params):
    secret = Path.home() / "weights"
    assert secret.read_text() == "0.5" and secret.stat().st_uid == os.getuid() == os.geteuid()
    assert getpass.getuser() == "nobody"
    assert not os.access("/etc/shadow", os.R_OK)
    secret.with_name("seen").write_text("yes")
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Threshold(float(secret.read_text()), 0.0)), (
        torch.randn(2, 4),
    )
"""


@pytest.fixture
def home():
    """A folder that is the ordinary user's and nobody else's."""
    folder = Path(tempfile.mkdtemp(prefix="tezzeret-home-"))
    yield folder
    shutil.rmtree(folder)


def test_a_factory_reads_its_users_files_and_what_is_made_belongs_to_the_user(home):
    python = python_for_all()
    (home / "mine.py").write_text(FACTORY)
    (home / "weights").write_text("0.5")
    (home / "d.json").write_text(json.dumps([{"blueprint_id": "M1", "name": "mine"}]))
    (home / "p.toml").write_text('[[blueprint]]\nmatch = "M1"\nfactory = "mine:of_the_user"\n')
    for path in (home, *home.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    (home / "weights").chmod(0o600)
    done = subprocess.run(
        [
            python,
            "-m",
            "tezzeret_cli",
            "compile",
            "d.json",
            "--profile",
            "p.toml",
            "--store",
            "store",
            "--json",
        ],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": f"{home}:{PATHS}"},
        cwd=home,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (job,) = json.loads(done.stdout)["jobs"]
    assert job["status"] == "compiled"
    assert (home / "seen").read_text() == "yes"
    assert {path.stat().st_uid for path in home.rglob("*") if not path.is_symlink()} == {NOBODY}
    assert done.stderr.count("this machine gives") <= 1
