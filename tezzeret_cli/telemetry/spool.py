"""The telemetry spool: ``<store>/telemetry/<day>-<host>.jsonl``, one ``Entry`` a line, shared by all runs.

Bounded: the oldest days go first, and what does not fit then is dropped, and that is told. An observer never
raises into a run, so a spool that cannot be written says so once and is silent.
"""

from __future__ import annotations

import datetime
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tezzeret_cli.model.events import Event, Heartbeat, JobFinished, RunFinished, RunStarted
from tezzeret_cli.model.report import Status
from tezzeret_cli.model.telemetry import Entry, SystemHealth
from tezzeret_cli.telemetry import resources
from tezzeret_cli.telemetry.metrics import Meaning, aggregates, meaning
from tezzeret_cli.telemetry.standing import Standing
from tezzeret_cli.telemetry.traces import Tracer

SCHEMA = 1
FOLDER = "telemetry"
SUFFIX = ".jsonl"
SOURCE = "tezzeret"
_WRITING_S = 0.05
"""A line takes its writer less than that."""
Warn = Callable[[str], None]
_IDLE = b'"run":null,"counts":{'


class Spool:
    """An observer that writes what events mean, and every ``interval_s`` seconds of a run how it stands.
    ``limit`` is in bytes, of the whole folder; ``warn`` is told in words what is dropped or cannot be
    written."""

    def __init__(self, root: Path, limit: int, warn: Warn, interval_s: float = 10.0) -> None:
        self._folder = root / FOLDER
        self._limit = limit
        self._warn = warn
        self._host = host_name()
        self._descriptor = -1
        self._day = ""
        self._room = 0
        self._dropped = 0
        self._broken = False
        self._interval_s = interval_s
        self._due = 0.0
        self._standing = Standing()
        self._tracer = Tracer()

    def on_event(self, event: Event) -> None:
        if self._broken:
            return
        now, ticks = datetime.datetime.now(datetime.UTC), time.monotonic()
        self._standing.on_event(event, ticks)
        spans = self._tracer.on_event(event, now)
        report = event.report if isinstance(event, RunFinished) else None
        health = self._standing.health(ticks) if report is not None or self._is_due(event, ticks) else None
        means = self._meaning(event, health)
        if means.metrics or means.events or spans or health is not None:
            entry = _entry(now, self._host, means, event)
            self._write(msgspec.structs.replace(entry, spans=spans, health=health), now)
        if report is not None and self._dropped:
            self._warn(
                f"{self._dropped} telemetry entries were dropped: {self._folder} holds its "
                f"{self._limit >> 20} MiB; raise TEZZERET_TELEMETRY, or run gc"
            )
            self._dropped = 0

    def _is_due(self, event: Event, ticks: float) -> bool:
        """Whether it is time to say how a run stands."""
        if isinstance(event, RunStarted):
            self._due = ticks + self._interval_s
        if not isinstance(event, Heartbeat) or ticks < self._due:
            return False
        self._due = ticks + self._interval_s
        return True

    def _meaning(self, event: Event, health: SystemHealth | None) -> Meaning:
        if health is None or isinstance(event, RunFinished):
            made = isinstance(event, JobFinished) and event.report.status is not Status.CACHED
            return meaning(event, resources.sample() if made else ())
        stands = self._standing
        points = aggregates(stands.hit_rate, stands.breakers, stands.conservative)
        return Meaning((*points, *resources.sample()))

    def _write(self, entry: Entry, now: datetime.datetime) -> None:
        line = msgspec.json.encode(entry) + b"\n"
        try:
            self._open(now)
            if len(line) > self._room:
                self._dropped += 1
                return
            taken = os.write(self._descriptor, line)
            self._room -= taken
            if taken < len(line):
                raise OSError(28, os.strerror(28))
        except OSError as error:
            self._broken = True
            self._warn(f"no telemetry is kept: {self._folder}: {error.strerror}")

    def _open(self, now: datetime.datetime) -> None:
        """Open the file of the day, ending a line that a dead process left torn."""
        day = now.strftime("%Y%m%d")
        if day == self._day:
            return
        self.close()
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{day}-{self._host}{SUFFIX}"
        self._room = self._limit - self._make_room(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        if _is_torn(self._descriptor):
            os.write(self._descriptor, b"\n")
        self._day = day

    def _make_room(self, today: Path) -> int:
        """Remove the oldest files while there is too much; the bytes that are there then."""
        sizes = {path: path.stat().st_size for path in sorted(self._folder.glob(f"*{SUFFIX}"))}
        total = sum(sizes.values())
        gone = 0
        for path, size in sizes.items():
            if total <= self._limit:
                break
            if path != today:
                path.unlink(missing_ok=True)
                total -= size
                gone += 1
        if gone:
            self._warn(f"telemetry of {gone} days was removed: more than {self._limit >> 20} MiB were there")
        return total

    def close(self) -> None:
        """Let go of the file. Everything is written already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._day = ""


def _is_torn(descriptor: int) -> bool:
    """Whether the last line has no end, and is not just being written by another process."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    if not end or os.pread(descriptor, 1, end - 1) == b"\n":
        return False
    time.sleep(_WRITING_S)
    return os.lseek(descriptor, 0, os.SEEK_END) == end and os.pread(descriptor, 1, end - 1) != b"\n"


def host_name() -> str:
    """This host's name as part of a file's."""
    return re.sub(r"[^0-9A-Za-z.-]", "_", os.uname().nodename) or "unknown"


def _entry(now: datetime.datetime, host: str, means: Meaning, event: Event) -> Entry:
    report = event.report if isinstance(event, RunFinished) else None
    return Entry(
        schema=SCHEMA,
        id=secrets.token_hex(16),
        time=now.isoformat(timespec="milliseconds"),
        source=SOURCE,
        host=host,
        level=means.level,
        metrics=means.metrics,
        events=means.events,
        command=report.command if report else None,
        run=report.run if report else None,
        counts=report.counts if report else None,
    )


def idle_runs(root: Path, since: float | None) -> Iterator[dict[str, int]]:
    """The counts of runs that had nothing to do, and so have no journal; from ``since`` on (seconds since
    1970). Lines that do not decode are passed over. Raises ``OSError``."""
    start = None if since is None else datetime.datetime.fromtimestamp(since, datetime.UTC)
    for path in sorted((root / FOLDER).glob(f"*{SUFFIX}")):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        at = data.find(_IDLE)
        while at >= 0:
            begin, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
            end = len(data) if end < 0 else end
            try:
                entry = msgspec.json.decode(data[begin:end], type=Entry)
                if entry.counts and (start is None or datetime.datetime.fromisoformat(entry.time) >= start):
                    yield entry.counts
            except (msgspec.DecodeError, ValueError):
                pass
            at = data.find(_IDLE, end)
