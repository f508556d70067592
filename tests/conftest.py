"""Fixtures for all tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT, Command


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-size",
        choices=["small", "full"],
        default="small",
        help="tests/faults: small is a sample, full is every truncation, bit and crash point",
    )


@pytest.fixture(scope="session")
def tezzeret(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The real command. Its home is shared by the whole test run, as headers compiled once are."""
    return Command(tmp_path_factory.mktemp("home"))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def consumer(tmp_path: Path):
    """Run Python code as a consumer does: no compiler, an empty PATH, an empty cache."""

    def run(code: str, *args: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": "",
            "HOME": str(tmp_path),
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.run(
            [*prefix, sys.executable, "-c", code, *args],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
