"""The parent's side of the worker processes: start tasks, collect events, leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from types import TracebackType

import msgspec

from tezzeret_cli.errors import WorkerError
from tezzeret_cli.host.memory_group import GroupPlace, NoGroups, find_place, move_back
from tezzeret_cli.worker.priority import TURNS_S, Turns
from tezzeret_cli.worker.protocol import (
    HEADER,
    AnswerFrame,
    Buffer,
    EndFrame,
    StageFrame,
    StartRequest,
    TaskFrame,
    WarmFrame,
)
from tezzeret_cli.worker.task import (
    Cancelled,
    Crashed,
    Lacking,
    Task,
    TaskEnded,
    TaskEvent,
    TaskStage,
    Template,
)

STARTUP_S = 120.0
_FIRST_FRAME = 1 << 16
_CLOSE_S = 10.0


class _Running:
    def __init__(self, task: Task, channel: socket.socket) -> None:
        self.task = task
        self.channel = channel
        self.started = time.monotonic()
        self.buffer = Buffer(task.limits.result_bytes + (1 << 17))


class _Warm:
    """One warm process, and the socket that it takes requests from."""

    def __init__(self, template: Template) -> None:
        self._template = template
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready = False
        self.lacking: tuple[str, ...] = ()
        """What its tasks are not held by; known once it is ready."""

    def request(self, message: bytes) -> socket.socket:
        """Hand over a request; the channel on which the task is followed. Raises ``WorkerError``.

        A process that has just died is noticed when it does not take the request; one more is started then.
        """
        try:
            return self._request(message)
        except OSError:
            self.end()
        try:
            return self._request(message)
        except OSError as error:
            self.end()
            raise WorkerError(f"the warm worker process ended: {error.strerror}") from error

    def _request(self, message: bytes) -> socket.socket:
        """Hand the request and one end of a new channel to the warm process; the other end."""
        control = self._ready_control()
        ours, theirs = socket.socketpair()
        try:
            socket.send_fds(control, [message[: 1 << 16]], [theirs.fileno()])
            control.sendall(message[1 << 16 :])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    def spawn(self) -> None:
        """Start it, unless it runs, and do not wait until it is ready."""
        if self._process is not None:
            return
        self._control, theirs = socket.socketpair()
        options = ("-P",) if self._template.isolated else ()
        command = [sys.executable, *options, "-m", "tezzeret_cli.worker.zygote"]
        command += [str(theirs.fileno()), str(os.getpid())]
        self._process = subprocess.Popen(
            [*command, *self._template.preload],
            env=self._template.env,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        theirs.close()
        self._ready = False

    def _ready_control(self) -> socket.socket:
        if self._process is not None and self._process.poll() is not None and self._ready:
            self.end()
        self.spawn()
        assert self._control is not None
        if not self._ready:
            try:
                self._wait_until_ready(self._control)
            except BaseException:
                self.end()
                raise
            self._ready = True
        return self._control

    def _wait_until_ready(self, control: socket.socket) -> None:
        """It gives way to others as its tasks do, and is timed as they are."""
        assert self._process is not None
        started = time.monotonic()
        turns = Turns(started)
        control.settimeout(TURNS_S)
        said = Buffer(_FIRST_FRAME)
        frames: list[bytes] = []
        while not frames:
            try:
                piece = control.recv(1 << 16)
            except TimeoutError:
                turns.look([self._process.pid], time.monotonic())
                if time.monotonic() - turns.given - started > STARTUP_S:
                    text = f"the warm worker process was not ready after {STARTUP_S:.0f} s"
                    raise WorkerError(text) from None
                continue
            if not piece:
                raise WorkerError(f"the warm worker process did not start: {self._cause()}")
            frames = said.feed(piece)
        control.settimeout(None)
        frame = msgspec.msgpack.decode(frames[0], type=WarmFrame)
        if frame.problem is not None:
            raise WorkerError(f"the warm worker process did not start: {_last_line(frame.problem)}")
        self.lacking = frame.lacking

    def _cause(self) -> str:
        assert self._process is not None
        assert self._process.stderr is not None
        return _last_line(self._process.stderr.read().decode(errors="replace"))

    def end(self) -> None:
        """Kill it."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            if self._process.stderr is not None:
                self._process.stderr.close()
            self._process = None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"


class WorkerPool:
    """A ``Runner`` over warm processes that fork one guarded child per task.

    They are started with the first task, and again with one that is forked from them after they died.
    """

    def __init__(self, templates: Mapping[str, Template]) -> None:
        self._warm = {name: _Warm(template) for name, template in templates.items()}
        self._selector = selectors.DefaultSelector()
        self._running: dict[int, _Running] = {}
        self._cancelled = False
        self._groups: GroupPlace | None = None
        self._lacking: tuple[str, ...] | None = None
        """Which was told; ``None`` before the first task."""

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, task: Task) -> None:
        """Start ``task``. Raises ``WorkerError`` when no warm process can be had."""
        first = self._lacking is None
        lacking = self._find_groups() if first else ()
        for warm in self._warm.values():
            warm.spawn()
        body = msgspec.msgpack.encode(StartRequest(task, self._groups))
        warm = self._warm[task.template]
        channel = warm.request(HEADER.pack(len(body)) + body)
        if first:
            self._lacking = (*warm.lacking, *lacking)
        channel.setblocking(False)
        running = _Running(task, channel)
        self._running[task.id] = running
        self._selector.register(channel, selectors.EVENT_READ, running)

    def _find_groups(self) -> tuple[str, ...]:
        """Find out where the tasks' memory groups can be made; what is lacking for that."""
        try:
            self._groups = find_place()
        except NoGroups as reason:
            return (f"no memory cgroups ({reason}): a job's memory is looked at 20 times a second instead",)
        return ()

    def wait(self, timeout_s: float) -> list[TaskEvent]:
        """Events since the last call, waiting up to ``timeout_s`` seconds for the first."""
        events: list[TaskEvent] = []
        if self._lacking:
            events.append(Lacking(self._lacking))
            self._lacking = ()
            timeout_s = 0
        for key, _ in self._selector.select(timeout_s if self._running else 0):
            events += self._read(key.data)
        return events

    def cancel(self) -> None:
        """Have every running task killed; their endings come out of ``wait``."""
        self._cancelled = True
        for running in self._running.values():
            with contextlib.suppress(OSError):
                running.channel.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Kill whatever is left and leave no process behind."""
        self.cancel()
        deadline = time.monotonic() + _CLOSE_S
        while self._running and time.monotonic() < deadline:
            self.wait(0.1)
        for warm in self._warm.values():
            warm.end()
        for running in list(self._running.values()):
            self._forget(running)
        move_back()

    def _read(self, running: _Running) -> list[TaskEvent]:
        events: list[TaskEvent] = []
        try:
            while data := running.channel.recv(1 << 20):
                for frame in running.buffer.feed(data):
                    events += self._take(running, msgspec.msgpack.decode(frame, type=TaskFrame))
                if running.task.id not in self._running:
                    return events
        except BlockingIOError:
            return events
        except ConnectionResetError:
            pass
        if running.task.id in self._running:
            ending = Cancelled() if self._cancelled else Crashed(None, None)
            events.append(TaskEnded(running.task.id, ending, time.monotonic() - running.started, 0))
            self._forget(running)
        return events

    def _take(self, running: _Running, frame: TaskFrame) -> list[TaskEvent]:
        match frame:
            case StageFrame(stage):
                return [TaskStage(running.task.id, stage)]
            case EndFrame(ending, duration_s, peak_bytes):
                self._forget(running)
                return [TaskEnded(running.task.id, ending, duration_s, peak_bytes)]
            case AnswerFrame():
                return []

    def _forget(self, running: _Running) -> None:
        self._running.pop(running.task.id, None)
        self._selector.unregister(running.channel)
        running.channel.close()
