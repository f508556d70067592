"""Quantiles of measured times, by one rule wherever they are computed."""

from __future__ import annotations

import math
from collections.abc import Collection


def quantile(values: Collection[float], share: float) -> float:
    """The smallest of ``values`` that at least ``share`` of them, above 0 up to 1, do not exceed (nearest
    rank). There has to be a value."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
