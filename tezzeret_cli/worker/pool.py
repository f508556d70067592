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
from collections.abc import Mapping, Sequence
from types import TracebackType

import msgspec

from tezzeret_cli.errors import WorkerError
from tezzeret_cli.worker.protocol import (
    HEADER,
    AnswerFrame,
    Buffer,
    EndFrame,
    StageFrame,
    StartRequest,
    TaskFrame,
)
from tezzeret_cli.worker.task import Cancelled, Crashed, Task, TaskEnded, TaskEvent, TaskStage
from tezzeret_cli.worker.zygote import READY

STARTUP_S = 120.0
_CLOSE_S = 10.0


class _Running:
    def __init__(self, task: Task, channel: socket.socket) -> None:
        self.task = task
        self.channel = channel
        self.started = time.monotonic()
        self.buffer = Buffer(task.limits.result_bytes + (1 << 17))


class WorkerPool:
    """A ``Runner`` over a warm process that forks one guarded child per task.

    ``preload`` are modules that the warm process imports before the first task; ``env`` is its whole
    environment. The warm process is started with the first task and again after it died.
    """

    def __init__(self, preload: Sequence[str], env: Mapping[str, str]) -> None:
        self._preload = tuple(preload)
        self._env = dict(env)
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._running: dict[int, _Running] = {}
        self._cancelled = False

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, task: Task) -> None:
        """Start ``task``. Raises ``WorkerError`` when no warm process can be had.

        A warm process that has just died is noticed when it does not take the request; one more is
        started then.
        """
        body = msgspec.msgpack.encode(StartRequest(task))
        message = HEADER.pack(len(body)) + body
        try:
            channel = self._request(message)
        except OSError:
            self._drop_zygote()
            try:
                channel = self._request(message)
            except OSError as error:
                self._drop_zygote()
                raise WorkerError(f"the warm worker process ended: {error.strerror}") from error
        channel.setblocking(False)
        running = _Running(task, channel)
        self._running[task.id] = running
        self._selector.register(channel, selectors.EVENT_READ, running)

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

    def wait(self, timeout_s: float) -> list[TaskEvent]:
        """Events since the last call, waiting up to ``timeout_s`` seconds for the first."""
        events: list[TaskEvent] = []
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
        self._drop_zygote()
        for running in list(self._running.values()):
            self._forget(running)

    def _ready_control(self) -> socket.socket:
        if self._zygote is not None and self._zygote.poll() is not None:
            self._drop_zygote()
        if self._control is None:
            self._control = self._start_zygote()
        return self._control

    def _start_zygote(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "tezzeret_cli.worker.zygote", str(theirs.fileno()), str(os.getpid())]
        self._zygote = subprocess.Popen(
            [*command, *self._preload],
            env=self._env,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        theirs.close()
        ours.settimeout(STARTUP_S)
        said = b""
        try:
            while not said.endswith(READY):
                piece = ours.recv(1 << 16)
                if not piece:
                    raise WorkerError(f"the warm worker process did not start: {self._cause(said)}")
                said += piece
        except TimeoutError:
            self._drop_zygote()
            raise WorkerError(f"the warm worker process was not ready after {STARTUP_S:.0f} s") from None
        except BaseException:
            ours.close()
            self._drop_zygote()
            raise
        ours.settimeout(None)
        return ours

    def _cause(self, said: bytes) -> str:
        assert self._zygote is not None
        if not said and self._zygote.stderr is not None:
            said = self._zygote.stderr.read()
        lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it gave no reason"

    def _drop_zygote(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._zygote is not None:
            with contextlib.suppress(ProcessLookupError):
                self._zygote.send_signal(signal.SIGKILL)
            self._zygote.wait()
            if self._zygote.stderr is not None:
                self._zygote.stderr.close()
            self._zygote = None

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
