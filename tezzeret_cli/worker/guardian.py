"""The guardian of one task: it starts the child, watches it, ends its whole tree, and reports.

Where the machine allows it, the child and all that it starts are in a namespace of processes, which the
kernel ends as a whole with its first process, and in a group whose memory the kernel holds. The guardian
looks from outside. It is the subreaper of everything the child starts, so without a namespace a daemon that
left its session is still found. The child talks over a socket of its own, so nothing it writes can be taken
for the guardian's verdict.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import msgspec

from tezzeret_cli.host.memory_group import MemoryGroup
from tezzeret_cli.worker import namespaces, process
from tezzeret_cli.worker.init import Verdict, lead
from tezzeret_cli.worker.namespaces import Spaces
from tezzeret_cli.worker.priority import TURNS_S, Turns, give_way
from tezzeret_cli.worker.protocol import (
    STAGE_LIMIT,
    AnswerFrame,
    Buffer,
    EndFrame,
    StageFrame,
    StartRequest,
    TaskFrame,
    send,
)
from tezzeret_cli.worker.task import (
    Cancelled,
    Crashed,
    Ending,
    OutOfMemory,
    Priority,
    Raised,
    Returned,
    Task,
    TimedOut,
    TooManyProcesses,
)

LOOK_S, LOOK_YIELDING_S = 0.05, 0.25
"""Seconds between two looks at a tree; the latter where it yields and the kernel holds its memory, so that
looking, too, takes nothing from others."""
WEIGH_S = 1.0
_GROWTH = 1.05
LOG_LIMIT = 8 << 20
FILE_LIMIT = 16 << 30
PROCESS_LIMIT = 128
_TRUNCATED = b"\n[the rest of the output was cut off]\n"

RunChild = Callable[[Task, socket.socket], None]


def guard(request: StartRequest, spaces: Spaces, report: socket.socket, run_child: RunChild) -> None:
    """Run the task under watch, in namespaces as ``spaces`` says, and send its frames over ``report``. Never
    returns.

    ``run_child`` is called in the forked child and does not return either.
    """
    task = request.task
    process.adopt_orphans()
    os.setsid()
    orphaned = _Flag()
    signal.signal(signal.SIGTERM, orphaned.raise_by_signal)
    started = time.monotonic()
    mine, theirs = socket.socketpair()
    output_read, output_write = os.pipe()
    guardian = os.getpid()
    group = MemoryGroup(request.groups, task.limits.memory_bytes) if request.groups else None
    namespaces.enter(spaces)
    verdict = Verdict() if spaces.processes else None
    child = os.fork()
    if child == 0:
        mine.close()
        report.close()
        os.close(output_read)
        if group is not None:
            group.join()
        if verdict is not None:
            lead(verdict, theirs.fileno(), output_write)
        else:
            process.die_with_parent(guardian)
        _enter_child(task, output_write)
        if spaces.user:
            namespaces.drop_capabilities()
        run_child(task, theirs)
        os._exit(70)
    theirs.close()
    os.close(output_write)
    if verdict is not None:
        verdict.leave_writing()
    if task.fresh:
        send(mine, StartRequest(task))
    watch = _Watch(task, report, mine, output_read, _Child(child, verdict), group, started, orphaned)
    ending = watch.run()
    gone = process.end_descendants(guardian)
    watch.drain_output()
    if group is not None:
        group.close()
    if orphaned.raised:
        os._exit(0)
    if not gone:
        ending = Crashed(signal=None, status=None)
    send(report, EndFrame(ending, time.monotonic() - started, watch.peak))
    os._exit(0)


def _enter_child(task: Task, output: int) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    process.apply_limits(FILE_LIMIT, cpu_seconds=_cpu_seconds(task.limits.timeout_s))
    give_way(task.priority)
    os.chdir(task.workdir)


class _Child:
    """The process that the guardian forked: the task's own, or the first of its namespace, which tells how
    the task's own ended."""

    def __init__(self, pid: int, verdict: Verdict | None) -> None:
        self._pid = pid
        self._verdict = verdict

    def end_descriptor(self) -> int | None:
        """Can be read once it has ended; ``None`` on kernels without that: there it is looked at."""
        try:
            return os.pidfd_open(self._pid)
        except OSError:
            return None

    def reap(self) -> int | None:
        """The task's wait status once it has ended; ``None`` before."""
        status = process.reap().get(self._pid)
        if status is None or self._verdict is None:
            return status
        said = self._verdict.take()
        return status if said is None else said


def _cpu_seconds(timeout_s: float) -> int:
    """Processor time that one process cannot need within its deadline, whatever its threads do."""
    return int((timeout_s + 1) * (os.cpu_count() or 1)) + 1


class _Flag:
    """Raised when the warm process ended: the task ends too, and nobody waits for its verdict."""

    raised = False

    def raise_by_signal(self, number: int, frame: FrameType | None) -> None:
        self.raised = True


class _Watch:
    """Follows one child until it ends, by itself or by force."""

    def __init__(
        self,
        task: Task,
        report: socket.socket,
        child_socket: socket.socket,
        output: int,
        child: _Child,
        group: MemoryGroup | None,
        started: float,
        orphaned: _Flag,
    ) -> None:
        self._orphaned = orphaned
        self._task = task
        self._report = report
        self._socket = child_socket
        self._output = output
        self._child = child
        self._group = group
        yields = task.priority is Priority.YIELDING
        self._turns = Turns(started)
        self._next_turns = 0.0
        self._look_s = LOOK_YIELDING_S if yields and group is not None else LOOK_S
        self._deadline = started + task.limits.timeout_s
        self._stage_deadline: tuple[float, float] | None = None
        self._buffer = Buffer(task.limits.result_bytes + (1 << 16))
        self._answer: Ending | None = None
        self._log = os.open(task.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._logged = 0
        self._bound = 0
        self._next_weighing = 0.0
        self.peak = 0

    def run(self) -> Ending:
        with selectors.DefaultSelector() as selector:
            self._socket.setblocking(False)
            os.set_blocking(self._output, False)
            selector.register(self._socket, selectors.EVENT_READ, self._read_child)
            selector.register(self._output, selectors.EVENT_READ, self._read_output)
            selector.register(self._report, selectors.EVENT_READ, None)
            if (end := self._child.end_descriptor()) is not None:
                selector.register(end, selectors.EVENT_READ, lambda: False)
            next_look = 0.0
            while True:
                for key, _ in selector.select(self._look_s):
                    if key.data is None:
                        return Cancelled()
                    if not key.data():
                        selector.unregister(key.fileobj)
                if self._orphaned.raised:
                    return Cancelled()
                status = self._child.reap()
                if status is not None:
                    self._read_child()
                    return self._verdict(status)
                if (late := self._late()) is not None:
                    return late
                now = time.monotonic()
                if now >= next_look:
                    next_look = now + self._look_s
                    tree = process.living_tree(os.getpid())
                    if len(tree) > PROCESS_LIMIT and (count := self._living()) > PROCESS_LIMIT:
                        return TooManyProcesses(count, PROCESS_LIMIT)
                    self._weigh(tree, now)
                    if now >= self._next_turns:
                        self._next_turns = now + TURNS_S
                        self._turns.look(tree, now)
                    if self._group is None and self.peak > self._task.limits.memory_bytes:
                        return OutOfMemory(self.peak, self._task.limits.memory_bytes)
                    if (ended := self._ended_by_kernel()) is not None:
                        return ended

    def _clock(self) -> float:
        """Seconds, less those in which the task waited for a processor: every task gives way to others."""
        return time.monotonic() - self._turns.given

    def _late(self) -> TimedOut | None:
        now = self._clock()
        if now >= self._deadline:
            return TimedOut(self._task.limits.timeout_s)
        if self._stage_deadline is not None and now >= self._stage_deadline[0]:
            return TimedOut(self._stage_deadline[1])
        return None

    def _ended_by_kernel(self) -> OutOfMemory | None:
        """Also when it took one process only: what the others make of that is no answer."""
        if self._group is None or self._group.kills() == 0:
            return None
        self.peak = max(self.peak, self._group.peak())
        return OutOfMemory(self.peak, self._task.limits.memory_bytes, by_kernel=True)

    @staticmethod
    def _living() -> int:
        return len(process.descendants(os.getpid()))

    def _weigh(self, tree: list[int], now: float) -> None:
        """Measure the tree's memory when it may be over the limit or grew, else once in a while: the kernel
        walks through every page for it."""
        bound = sum(map(process.memory_bound, tree))
        grown = bound > self._bound * _GROWTH
        if grown or now >= self._next_weighing or bound > self._task.limits.memory_bytes:
            self._bound = max(self._bound, bound)
            self._next_weighing = now + WEIGH_S
            self.peak = max(self.peak, sum(map(process.private_bytes, tree)))

    def _verdict(self, status: int) -> Ending:
        if (ended := self._ended_by_kernel()) is not None:
            return ended
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number == signal.SIGKILL and self.peak > self._task.limits.memory_bytes // 2:
                return OutOfMemory(self.peak, self._task.limits.memory_bytes, by_kernel=True)
            return Crashed(number, None)
        code = os.WEXITSTATUS(status)
        if code == 0 and self._answer is not None:
            return self._answer
        return Crashed(None, code)

    def _read_child(self) -> bool:
        """Take in what the child sent; false when there will be no more."""
        try:
            while data := self._socket.recv(1 << 20):
                for frame in self._buffer.feed(data):
                    self._take(frame)
        except BlockingIOError:
            return True
        except (ValueError, msgspec.MsgspecError, OSError) as error:
            self._answer = Raised("ProtocolError", f"the worker's answer cannot be read: {error}", "")
        return False

    def _take(self, data: bytes) -> None:
        frame = msgspec.msgpack.decode(data, type=TaskFrame)
        if isinstance(frame, StageFrame):
            allowed = self._task.limits.stages.get(frame.stage)
            self._stage_deadline = None if allowed is None else (self._clock() + allowed, allowed)
            send(self._report, StageFrame(frame.stage[:STAGE_LIMIT]))
        elif isinstance(frame, AnswerFrame) and isinstance(frame.ending, Returned | Raised):
            self._answer = frame.ending

    def _read_output(self) -> bool:
        try:
            while data := os.read(self._output, 1 << 16):
                self._keep(data)
        except BlockingIOError:
            return True
        return False

    def _keep(self, data: bytes) -> None:
        room = LOG_LIMIT - self._logged
        if room <= 0:
            return
        os.write(self._log, data[:room])
        self._logged += len(data[:room])
        if self._logged >= LOG_LIMIT:
            os.write(self._log, _TRUNCATED)

    def drain_output(self) -> None:
        """Keep what the ended tree had still written."""
        os.set_blocking(self._output, False)
        self._read_output()
        os.close(self._log)
