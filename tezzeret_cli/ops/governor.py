"""What may run now, and how: circuit breakers, memory and GPUs decide. The forge bends and does not stop.

Conservative mode means one job at a time, with the fast strategy at most, and half as much time again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container, Sequence

import msgspec

from tezzeret_cli.errors import JournalDamagedError, JournalError
from tezzeret_cli.health.record import HealthRecords
from tezzeret_cli.health.state import GPU, TIMEOUT, breaker_for, phases
from tezzeret_cli.host.gpu import Gpu, read_gpus
from tezzeret_cli.host.memory import Memory, read_memory
from tezzeret_cli.model.events import BreakerMoved, Heartbeat, ModeEntered, Notice, Observer
from tezzeret_cli.model.health import Health, HealthRecord, ModeChanged, Outcome, Phase
from tezzeret_cli.model.job import Job, Strategy
from tezzeret_cli.model.report import JobReport, Status
from tezzeret_cli.model.run import CompileOptions
from tezzeret_cli.ops.attempt import Failure
from tezzeret_cli.worker.task import Priority

SAMPLE_S = 2.0
MEMORY_HIGH, MEMORY_CALM, MEMORY_S = 80.0, 70.0, 10.0
"""Percent used from which memory is under pressure, below which it is not any more, and for how long it
must have been so."""
MEMORY_STALLED = 10.0
"""Percent of the time in which some process waited for memory, from which it is under pressure as well."""
GPU_BUSY, GPU_S = 20.0, 300.0
"""The same for a GPU that others use: percent, seconds."""
LONGER = 1.5
GPU_SHARE, GPU_SHARE_CONSERVATIVE = 0.25, 0.15
"""The part of a GPU's memory that one build may have."""


class Pressure:
    """Remembers since when memory and GPUs have been under pressure. Pure but for its own memory."""

    def __init__(self) -> None:
        self._memory_since: float | None = None
        self._gpu_since: float | None = None
        self._memory_holds = False

    def reasons(self, memory: Memory, gpus: Sequence[Gpu], now: float) -> tuple[str, ...]:
        """Why to go easy, as of ``now``, seconds of a clock that does not jump."""
        limit = MEMORY_CALM if self._memory_holds else MEMORY_HIGH
        stalled = memory.pressure is not None and memory.pressure > MEMORY_STALLED
        self._memory_since = _since(self._memory_since, memory.used_percent > limit or stalled, now)
        busy = [gpu for gpu in gpus if gpu.others and gpu.busy_percent > GPU_BUSY]
        self._gpu_since = _since(self._gpu_since, bool(busy), now)
        self._memory_holds = _held(self._memory_since, now, MEMORY_S)
        found = []
        if self._memory_holds:
            waits = f"processes wait for memory {MEMORY_STALLED:g} % of the time"
            found.append(waits if stalled else f"memory use stays above {MEMORY_HIGH:g} %")
        if _held(self._gpu_since, now, GPU_S):
            found.append(f"others keep a GPU busier than {GPU_BUSY:g} %")
        return tuple(found)


class Governor:
    """Decides for one run. ``conservative`` are the reasons for that mode, empty outside it; ``seen`` are
    all reasons there were during the run.

    Health is shared with other runs through ``records``. Methods raise ``JournalError`` when what
    happened cannot be put on record.
    """

    def __init__(
        self,
        records: HealthRecords,
        options: CompileOptions,
        observer: Observer,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        memory: Callable[[], Memory] = read_memory,
        gpus: Callable[[Container[int]], Sequence[Gpu] | None] = read_gpus,
    ) -> None:
        self._records = records
        self._options = options
        self._observer = observer
        self._clock = clock
        self._ticks = ticks
        self._read_memory = memory
        self._read_gpus = gpus
        self._blind = False
        self._pressure = Pressure()
        self._under_pressure: tuple[str, ...] = ()
        self._next_sample = 0.0
        self._told: set[int] = set()
        self._gpus_wanted = False
        self._memory = memory()
        if self._memory.pressure is None:
            lost = "this machine does not tell how long processes wait for memory (PSI): its use alone counts"
            self._observer.on_event(Notice("warning", lost))
        self._health = self._read()
        self.conservative = self._health.conservative
        self.seen: list[str] = []
        self._phases = self.breakers
        before = self.conservative
        self._settle()
        if before and self.conservative:
            self._observer.on_event(ModeEntered(self.conservative))

    @property
    def breakers(self) -> dict[str, Phase]:
        """Every breaker's phase now."""
        return phases(self._health, self._options.breakers, self._clock())

    def tick(self) -> None:
        """Look at the machine, if it is time to."""
        now = self._ticks()
        if now < self._next_sample:
            return
        self._next_sample = now + SAMPLE_S
        self._memory = self._read_memory()
        gpus = self._gpus() if self._gpus_wanted else ()
        self._under_pressure = self._pressure.reasons(self._memory, gpus, now)
        self._tell_breakers(self._health, here=False)
        self._settle()
        phases_now = {name: phase.value for name, phase in self.breakers.items()}
        self._observer.on_event(Heartbeat(phases_now, self.conservative))

    def _gpus(self) -> Sequence[Gpu]:
        gpus = self._read_gpus(_own_processes())
        if gpus is None and not self._blind:
            self._blind = True
            lost = "this machine has no NVML: that others use its GPUs is not seen"
            self._observer.on_event(Notice("warning", lost))
        return gpus or ()

    def adjusted(self, job: Job) -> Job:
        """``job`` with the strategy it may have now; its key is to be found anew when that is another."""
        self._gpus_wanted = self._gpus_wanted or job.device.startswith("cuda")
        strategy, reason = job.strategy, job.strategy_reason
        breakers = self.breakers
        if breakers.get(GPU) is Phase.OPEN and job.device.startswith("cuda"):
            strategy, reason = self._at_most("emergency", strategy), "the gpu breaker is open"
        elif breakers.get(TIMEOUT) is Phase.OPEN:
            strategy, reason = self._lowered(strategy, "the timeout breaker is open", reason)
        elif self.conservative:
            strategy, reason = self._lowered(strategy, self.conservative[0], reason)
        if self.conservative:
            strategy = msgspec.structs.replace(strategy, timeout_s=strategy.timeout_s * LONGER)
        return msgspec.structs.replace(job, strategy=strategy, strategy_reason=reason)

    @property
    def gpu_share(self) -> float:
        """The part of a GPU's memory that one build may have now."""
        return GPU_SHARE_CONSERVATIVE if self.conservative else GPU_SHARE

    @property
    def priority(self) -> Priority:
        """Of what is started now."""
        return Priority.YIELDING if self.conservative else Priority.ORDINARY

    def may_start(self, number: int, job: Job, running: Sequence[Job]) -> bool:
        """Whether ``job`` may start beside ``running``: alone always, else where its memory fits.

        Blueprints that are for quarantine only have no neighbour.
        """
        if not running:
            return True
        if self.conservative or any(j.descriptor.quarantine_only for j in (job, *running)):
            return False
        wanted = job.strategy.memory_bytes
        promised = sum(j.strategy.memory_bytes for j in running)
        fits = wanted <= self._memory.available and wanted + promised <= self._memory.total
        if not fits and number not in self._told:
            self._told.add(number)
            self._observer.on_event(Notice("debug", f"{job.blueprint_id} waits until its memory is free"))
        return fits

    def ended(self, job: Job, report: JobReport, failures: Sequence[Failure]) -> None:
        """Take how a job ended. What is for quarantine only tells nothing about the forge."""
        if job.descriptor.quarantine_only:
            return
        now = self._clock()
        names = [breaker_for(failure.kind, failure.device) for failure in failures]
        records = [Outcome(now, name, job.blueprint_id) for name in names if name is not None]
        if not failures and report.status is Status.COMPILED and self._health.breakers_stirred:
            records.append(Outcome(now, None, job.blueprint_id))
        if records:
            before, self._health = self._write(records)
            self._tell_breakers(before, here=False)
            self._tell_breakers(self._health, here=True)
        self._settle()

    def _tell_breakers(self, health: Health, *, here: bool) -> None:
        """Say which breakers moved since they were told of last: ``here``, or by time and by other runs."""
        told, self._phases = self._phases, phases(health, self._options.breakers, self._clock())
        for name, phase in self._phases.items():
            if phase is not told[name]:
                self._observer.on_event(BreakerMoved(name, phase.value, here))

    def _settle(self) -> None:
        """Enter or leave conservative mode as the breakers and the machine want it."""
        wanted = [
            f"the {name} breaker is {_words(phase)}"
            for name, phase in self.breakers.items()
            if phase is not Phase.CLOSED
        ]
        wanted += self._under_pressure
        if self._options.conservative:
            wanted.append("it was asked for")
        reasons = tuple(wanted)
        self.seen += [reason for reason in reasons if reason not in self.seen]
        if bool(reasons) != bool(self.conservative):
            self._health = self._write([ModeChanged(self._clock(), reasons)])[1]
            self._observer.on_event(ModeEntered(reasons))
        self.conservative = reasons

    def _lowered(self, strategy: Strategy, why: str, reason: str | None) -> tuple[Strategy, str | None]:
        lowered = self._at_most("fast", strategy)
        return (strategy, reason) if lowered is strategy else (lowered, why)

    def _at_most(self, name: str, strategy: Strategy) -> Strategy:
        """``strategy``, or the rung ``name`` where that is a cheaper one."""
        names = [rung.name for rung in self._options.ladder]
        if name not in names or strategy.name not in names or names.index(strategy.name) >= names.index(name):
            return strategy
        return self._options.ladder[names.index(name)]

    def _read(self) -> Health:
        try:
            return self._records.read()
        except JournalDamagedError as error:
            return self._afresh(error)

    def _write(self, records: Sequence[HealthRecord]) -> tuple[Health, Health]:
        try:
            return self._records.add(records)
        except JournalDamagedError as error:
            self._afresh(error)
            return self._records.add(records)

    def _afresh(self, error: JournalError) -> Health:
        """Go on without what was known: breakers protect the forge, they must not stop it."""
        moved = self._records.set_aside()
        text = f"the breakers start afresh, their journal is damaged ({error}); it was moved to {moved}"
        self._observer.on_event(Notice("warning", text))
        return Health()


def _since(since: float | None, true: bool, now: float) -> float | None:
    return (now if since is None else since) if true else None


def _held(since: float | None, now: float, seconds: float) -> bool:
    return since is not None and now - since >= seconds


def _words(phase: Phase) -> str:
    return phase.value.replace("_", " ")


def _own_processes() -> frozenset[int]:
    import psutil

    return frozenset(child.pid for child in psutil.Process(os.getpid()).children(recursive=True))
