"""Where a run stands, from its events: aggregates for whoever looks in the middle of it. Without a clock."""

from __future__ import annotations

from collections import Counter

from tezzeret_cli.model.events import (
    BreakerMoved,
    Event,
    Heartbeat,
    JobFinished,
    JobRetried,
    JobStarted,
    ModeEntered,
    RunFinished,
    RunStarted,
)
from tezzeret_cli.model.health import Phase
from tezzeret_cli.model.report import Status
from tezzeret_cli.model.telemetry import HealthStatus, SystemHealth
from tezzeret_cli.quantiles import quantile

_MADE = (Status.COMPILED, Status.FALLBACK, Status.FAILED)


class Standing:
    """Totals of the run that goes on; the next ``RunStarted`` begins anew."""

    def __init__(self) -> None:
        self._begin(0.0, 0)

    def _begin(self, now: float, total: int) -> None:
        self._started = now
        self._total = total
        self._running: set[int] = set()
        self._counts: Counter[str] = Counter()
        self._retried = 0
        self._durations: list[float] = []
        self.breakers: dict[str, str] = {}
        self.conservative: tuple[str, ...] = ()

    def on_event(self, event: Event, now: float) -> None:
        """Take ``event``, which came at ``now``, seconds of any clock that does not jump."""
        match event:
            case RunStarted(_, total):
                self._begin(now, total)
            case JobStarted(number):
                self._running.add(number)
            case JobRetried():
                self._retried += 1
            case JobFinished(number, report):
                self._running.discard(number)
                self._counts[report.status.value] += 1
                if report.status in _MADE:
                    self._durations.append(report.duration_ms)
            case BreakerMoved(breaker, phase):
                self.breakers[breaker] = phase
            case ModeEntered(reasons):
                self.conservative = reasons
            case Heartbeat(breakers, reasons):
                self.breakers, self.conservative = dict(breakers), reasons
            case RunFinished(report):
                self._running.clear()
                self._counts = Counter(report.counts)
                self.breakers = dict(report.breakers) or self.breakers
            case _:
                return

    @property
    def hit_rate(self) -> float | None:
        """The part of the jobs done so far whose bundle was there; ``None`` before the first."""
        done = self._done()
        return self._counts[Status.CACHED] / done if done else None

    def health(self, now: float) -> SystemHealth:
        """How the forge is doing: unhealthy with an open breaker, degraded while it goes easy."""
        status = HealthStatus.HEALTHY
        if Phase.OPEN in self.breakers.values():
            status = HealthStatus.UNHEALTHY
        elif self.conservative or Phase.HALF_OPEN in self.breakers.values():
            status = HealthStatus.DEGRADED
        indicators = {
            "jobs": str(self._total),
            "running": str(len(self._running)),
            "retried": str(self._retried),
            "elapsed_s": f"{now - self._started:.1f}",
            **{status.value: str(self._counts[status]) for status in Status},
            **{f"breaker.{name}": phase for name, phase in self.breakers.items()},
        }
        if self._durations:
            indicators["duration_p50_ms"] = f"{quantile(self._durations, 0.5):.1f}"
            indicators["duration_p95_ms"] = f"{quantile(self._durations, 0.95):.1f}"
        if self.conservative:
            indicators["conservative"] = "; ".join(self.conservative)
        return SystemHealth(status, f"{self._done()} of {self._total} jobs done", indicators)

    def _done(self) -> int:
        return sum(count for status, count in self._counts.items() if status != Status.SKIPPED)
