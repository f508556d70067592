"""How much of the fault space a run covers."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether ``--fault-size full`` was given."""
    return request.config.getoption("--fault-size") == "full"
