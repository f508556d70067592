"""Oona, the bus: what is in the spool goes out as Leyline messages, in order and at least once.

The spool is written first. What was sent is noted in ``<store>/telemetry/oona-<host>.json``; a command that
dies in between, or finds no Redis, leaves the rest for the next one. A thread sends while a run goes on, so a
bus that is slow or gone does not slow it down.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tezzeret_cli.errors import SettingsError
from tezzeret_cli.model.events import (
    BundlePrewarmed,
    Event,
    GarbageCollected,
    RunFinished,
    VerificationFailed,
)
from tezzeret_cli.model.telemetry import Entry
from tezzeret_cli.telemetry.messages import Message, Streams, messages, signature
from tezzeret_cli.telemetry.spool import FOLDER, SUFFIX, Warn, host_name

BATCH = 100
TIMEOUT_S = 2.0
FINAL_S = 5.0
_SCHEMES = ("redis://", "rediss://", "unix://")


class Bus(msgspec.Struct, frozen=True):
    """Where and how to send. Times in seconds."""

    url: str
    interval_s: float = 10.0
    secret: bytes | None = None
    streams: Streams = Streams()


class Cursor(msgspec.Struct, frozen=True):
    """Everything before ``offset`` of ``file``, and all older files, was sent."""

    file: str = ""
    offset: int = 0


class BusError(Exception):
    """The bus cannot be used now; what waits goes out later."""


def check(bus: Bus) -> None:
    """Raise ``SettingsError`` for a URL that can never work, or without the library for it."""
    if not bus.url.startswith(_SCHEMES):
        raise SettingsError(
            f"oona_url {bus.url}: not a Redis URL", advice="write it like redis://host:6379/0"
        )
    try:
        import redis
    except ImportError:
        raise SettingsError(
            "oona_url: the package redis is missing", advice="install tezzeret-cli[oona]"
        ) from None
    try:
        redis.Redis.from_url(bus.url).close()
    except ValueError as error:
        raise SettingsError(f"oona_url {bus.url}: {error}", advice="correct it") from None


class Publisher:
    """Sends what waits in the spool of the store at ``root``."""

    def __init__(self, root: Path, bus: Bus) -> None:
        self._root = root
        self._folder = root / FOLDER
        self._bus = bus
        self._cursor = self._folder / f"oona-{host_name()}.json"
        self._client: Any = None

    def flush(self, limit_s: float) -> int:
        """Send until nothing waits or ``limit_s`` seconds are over; how many lines were sent. While another
        process of this host sends, nothing is done. Raises ``BusError``."""
        deadline = time.monotonic() + limit_s
        sent = 0
        try:
            with self._alone() as alone:
                while alone and time.monotonic() < deadline:
                    batch, after = self._next()
                    if after is None:
                        break
                    made = [found for line in batch if (found := self._made(line)) is not None]
                    self._send([message for found in made for message in found])
                    draft = self._cursor.with_suffix(".tmp")
                    draft.write_bytes(msgspec.json.encode(after))
                    draft.replace(self._cursor)
                    sent += len(made)
        finally:
            if self._client is not None:
                self._client.close()
                self._client = None
        return sent

    def _made(self, line: bytes) -> list[Message] | None:
        """The messages of a line; ``None`` for one that a dead process left torn."""
        try:
            entry = msgspec.json.decode(line, type=Entry)
            return list(messages(entry, self._root, self._bus.streams))
        except ValueError:
            return None

    def _next(self) -> tuple[list[bytes], Cursor | None]:
        """The next lines and the cursor after them; no cursor where nothing waits."""
        at = self._read_cursor()
        for path in sorted(self._folder.glob(f"*-{host_name()}{SUFFIX}")):
            if path.name < at.file:
                continue
            offset = at.offset if path.name == at.file else 0
            lines, end = _lines(path, offset)
            if end > offset:
                return lines, Cursor(path.name, end)
        return [], None

    def _send(self, batch: list[Message]) -> None:
        import redis

        try:
            if self._client is None:
                self._client = redis.Redis.from_url(
                    self._bus.url,
                    socket_timeout=TIMEOUT_S,
                    socket_connect_timeout=TIMEOUT_S,
                    retry=None,
                )
                self._check_streams()
            pipeline = self._client.pipeline(transaction=False)
            for message in batch:
                fields: dict[Any, Any] = {"payload": message.payload}
                if self._bus.secret is not None:
                    fields["signature"] = signature(self._bus.secret, message.payload)
                pipeline.xadd(message.stream, fields)
            if batch:
                pipeline.execute()
        except (redis.RedisError, OSError) as error:
            raise BusError(" ".join(str(error).split())) from error

    def _check_streams(self) -> None:
        """Raise ``BusError`` where something else has a stream's name: it would refuse its part of a batch,
        and the other part would be sent again and again. Who may not ask finds out by sending."""
        from redis.exceptions import NoPermissionError

        names = [getattr(self._bus.streams, field) for field in Streams.__struct_fields__]
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.type(name)
        try:
            kinds = pipeline.execute()
        except NoPermissionError:
            return
        for name, kind in zip(names, kinds, strict=True):
            if kind not in (b"none", b"stream"):
                raise BusError(f"{name} is a {kind.decode()} there, not a stream")

    def _read_cursor(self) -> Cursor:
        try:
            return msgspec.json.decode(self._cursor.read_bytes(), type=Cursor)
        except (FileNotFoundError, msgspec.DecodeError):
            return Cursor()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        try:
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            yield False
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
        except BlockingIOError:
            yield False
        finally:
            os.close(descriptor)


class Oona:
    """An observer that sends what the spool, which comes before it, has written. ``warn`` is told once when
    the bus cannot be used."""

    def __init__(self, root: Path, bus: Bus, warn: Warn) -> None:
        self._publisher = Publisher(root, bus)
        self._bus = bus
        self._warn = warn
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._told = False

    def on_event(self, event: Event) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._regularly, name="oona", daemon=True)
            self._thread.start()
        if isinstance(event, RunFinished | GarbageCollected | BundlePrewarmed | VerificationFailed):
            self._flush(FINAL_S)

    def _regularly(self) -> None:
        while not self._wake.wait(self._bus.interval_s):
            self._flush(FINAL_S)

    def _flush(self, limit_s: float) -> None:
        with self._lock:
            try:
                self._publisher.flush(limit_s)
            except (BusError, OSError) as error:
                if not self._told:
                    self._told = True
                    self._warn(f"Oona at {_shown(self._bus.url)}: {error}; telemetry waits in the spool")


def _shown(url: str) -> str:
    """A URL without its password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _lines(path: Path, offset: int) -> tuple[list[bytes], int]:
    """Up to ``BATCH`` whole lines from ``offset``, and where they end."""
    found: list[bytes] = []
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                break
            found.append(line)
            offset += len(line)
            if len(found) == BATCH:
                break
    return found, offset
