"""Compile strategies: data about flags and budgets, not copies of a pipeline."""

from __future__ import annotations

from tezzeret_cli.model.job import Strategy

STANDARD = Strategy(name="standard")

STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in (STANDARD,)}
