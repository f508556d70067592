"""Fixtures for all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import ROOT, Command


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-size",
        choices=["small", "full"],
        default="small",
        help="faults and forgeries: small is a sample, full is every truncation, bit and crash point",
    )


TALLY = pytest.StashKey[Counter]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLY] = Counter()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how much of the fault space was covered."""
    tally = config.stash[TALLY]
    if tally:
        terminalreporter.section(f"faults, {config.getoption('--fault-size')} size")
        for what, count in sorted(tally.items()):
            terminalreporter.line(f"{count:>9,} {what}")


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Callable[[str, int], None]:
    """Count what a fault test did, for the summary at the end of the session."""

    def add(what: str, count: int) -> None:
        request.config.stash[TALLY][what] += count

    return add


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether ``--fault-size full`` was given."""
    return bool(request.config.getoption("--fault-size") == "full")


@pytest.fixture(scope="session")
def tezzeret(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The real command. Its home is shared by the whole test run, as headers compiled once are."""
    return Command(tmp_path_factory.mktemp("home"))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def consumer(tmp_path: Path, tezzeret: Command):
    """Run Python code as a consumer does: no compiler, an empty PATH, an empty cache. It trusts the key that
    the real command signs with."""

    def run(code: str, *args: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": "",
            "HOME": str(tmp_path),
            "XDG_CONFIG_HOME": tezzeret.environment["XDG_CONFIG_HOME"],
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONPATH": str(ROOT),
            **{name: os.environ[name] for name in ("LD_LIBRARY_PATH", "CUDA_HOME") if name in os.environ},
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
