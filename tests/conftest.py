"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import Command


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
