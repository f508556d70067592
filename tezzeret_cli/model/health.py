"""What is kept of a forge's health between runs: circuit breakers, and the mode it was in."""

from __future__ import annotations

import enum

import msgspec


class Phase(enum.StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerRule(msgspec.Struct, frozen=True):
    """A breaker opens after so many ``failures`` in a row and is half open ``cooldown_s`` later."""

    name: str
    failures: int
    cooldown_s: float


class Breaker(msgspec.Struct, frozen=True):
    """``failures`` in a row while closed, ``opened`` the time it last opened (seconds since 1970) while it
    is not closed, ``good`` jobs since it was half open."""

    failures: int = 0
    opened: float | None = None
    good: int = 0


class Health(msgspec.Struct, frozen=True):
    """``breakers`` by name. ``conservative`` are the reasons for that mode, empty outside it, and ``since``
    is when it was entered or left."""

    breakers: dict[str, Breaker] = {}
    conservative: tuple[str, ...] = ()
    since: float = 0.0

    @property
    def breakers_stirred(self) -> bool:
        """Whether a good job would change any breaker."""
        return any(breaker != Breaker() for breaker in self.breakers.values())


class Outcome(msgspec.Struct, frozen=True, tag="outcome"):
    """How one attempt of a job ended for the breakers: it ``failed`` one of them, or was good for all."""

    at: float
    failed: str | None = None
    job: str = ""


class ModeChanged(msgspec.Struct, frozen=True, tag="mode_changed"):
    """Conservative mode was entered or goes on for these ``reasons``; none: it was left."""

    at: float
    reasons: tuple[str, ...] = ()


HealthRecord = Outcome | ModeChanged
