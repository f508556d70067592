"""``full`` is whether the sweeps try every point."""

from __future__ import annotations

import pytest


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--fault-size") == "full"
