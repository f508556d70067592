"""One circuit breaker: closed → open → half open → closed. Pure; the clock is an argument.

A clock that was set back does not keep a breaker open for longer than its cooldown from then on.
"""

from __future__ import annotations

import msgspec

from tezzeret_cli.model.health import Breaker, BreakerRule, Phase

GOOD_JOBS = 3
"""So many good jobs in a row close a half-open breaker."""


def phase(breaker: Breaker, rule: BreakerRule, now: float) -> Phase:
    """Where the breaker stands at ``now`` (seconds since 1970)."""
    if breaker.opened is None:
        return Phase.CLOSED
    elapsed = now - breaker.opened
    return Phase.OPEN if 0 <= elapsed < rule.cooldown_s else Phase.HALF_OPEN


def failed(breaker: Breaker, rule: BreakerRule, now: float) -> Breaker:
    """After a failure: one too many opens it, any opens a half-open one again."""
    match phase(breaker, rule, now):
        case Phase.OPEN:
            return breaker
        case Phase.HALF_OPEN:
            return Breaker(opened=now)
        case Phase.CLOSED:
            failures = breaker.failures + 1
            return Breaker(opened=now) if failures >= rule.failures else Breaker(failures=failures)


def succeeded(breaker: Breaker, rule: BreakerRule, now: float) -> Breaker:
    """After a good job. One that ends while the breaker is open began before, and tells nothing."""
    match phase(breaker, rule, now):
        case Phase.OPEN:
            return breaker
        case Phase.HALF_OPEN if breaker.good + 1 < GOOD_JOBS:
            return msgspec.structs.replace(breaker, good=breaker.good + 1)
        case _:
            return Breaker()
