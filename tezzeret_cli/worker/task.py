"""The narrow port between the job loop and the worker processes. Torch-free.

A task is one call of ``entry`` (``package.module:function``) in a process of its own:
``entry(payload: bytes, stage: Callable[[str], None]) -> bytes``. The job loop starts tasks and waits
for events; every way a process can end is a value here, never an exception.
"""

from __future__ import annotations

import enum
from typing import Protocol

import msgspec

BUILDER, CONSUMER = "builder", "consumer"
"""Names of templates: what compiles, and what only ever loads bundles."""


class Priority(enum.Enum):
    """What trains on this machine goes before what compiles: ``ORDINARY`` takes the smaller part of a
    processor that others want, ``YIELDING`` as good as nothing of it."""

    ORDINARY = "ordinary"
    YIELDING = "yielding"


class Limits(msgspec.Struct, frozen=True):
    """Wall-clock seconds, private bytes of the whole process tree, bytes of the answer.

    ``stages`` gives some stages a shorter time of their own, counted from when they are announced. For a task
    that yields, seconds in which it waits for a processor do not count, up to a multiple of the time it has.
    """

    timeout_s: float
    memory_bytes: int
    result_bytes: int = 16 << 20
    stages: dict[str, float] = {}


class Template(msgspec.Struct, frozen=True):
    """A warm process that tasks are forked from: what it imports beforehand, and its whole environment.
    ``isolated`` keeps the current directory off its module path."""

    preload: tuple[str, ...]
    env: dict[str, str]
    isolated: bool = False


class Task(msgspec.Struct, frozen=True):
    """One supervised call.

    ``fresh`` starts a new interpreter with exactly the environment ``env``; otherwise the call runs in a fork
    of the warm process called ``template``, with ``env`` merged into the child's environment. ``workdir`` is
    the child's current directory; ``log`` receives its stdout and stderr (size-capped).
    """

    id: int
    entry: str
    payload: bytes
    limits: Limits
    workdir: str
    log: str
    priority: Priority = Priority.ORDINARY
    template: str = BUILDER
    fresh: bool = False
    env: dict[str, str] = {}


class Returned(msgspec.Struct, frozen=True, tag=True):
    """The entry returned these bytes."""

    result: bytes


class Raised(msgspec.Struct, frozen=True, tag=True):
    """The entry raised. ``kind`` is the exception's class name, ``traceback`` is for the log."""

    kind: str
    message: str
    traceback: str


class Crashed(msgspec.Struct, frozen=True, tag=True):
    """The process ended without an answer: by ``signal``, or with ``status``."""

    signal: int | None
    status: int | None


class TimedOut(msgspec.Struct, frozen=True, tag=True):
    after_s: float


class OutOfMemory(msgspec.Struct, frozen=True, tag=True):
    """The tree held ``peak_bytes`` when it was stopped; ``by_kernel`` is whether the kernel did that."""

    peak_bytes: int
    limit_bytes: int
    by_kernel: bool = False


class TooManyProcesses(msgspec.Struct, frozen=True, tag=True):
    """The tree grew to more processes than a task may have at once, and was ended."""

    count: int
    limit: int


class Cancelled(msgspec.Struct, frozen=True, tag=True):
    """The parent asked for the end (Ctrl-C)."""


Ending = Returned | Raised | Crashed | TimedOut | OutOfMemory | TooManyProcesses | Cancelled


class TaskStage(msgspec.Struct, frozen=True, tag=True):
    task: int
    stage: str


class TaskEnded(msgspec.Struct, frozen=True, tag=True):
    """``peak_bytes`` is the largest resident size of the tree that was seen."""

    task: int
    ending: Ending
    duration_s: float
    peak_bytes: int


class Lacking(msgspec.Struct, frozen=True, tag=True):
    """What this machine does not give to hold tasks with, a line each. Told once, if at all."""

    parts: tuple[str, ...]


TaskEvent = TaskStage | TaskEnded | Lacking


class Runner(Protocol):
    """Starts tasks at once and reports what becomes of them. Not thread-safe."""

    def start(self, task: Task) -> None:
        """Start ``task``. Raises ``WorkerError`` when no process can be had."""
        ...

    def wait(self, timeout_s: float) -> list[TaskEvent]:
        """Events since the last call, waiting up to ``timeout_s`` for the first."""
        ...

    def cancel(self) -> None:
        """Kill every running task; their ``TaskEnded(Cancelled)`` come out of ``wait``."""
        ...

    def close(self) -> None:
        """Kill whatever is left, and leave no process behind. Idempotent."""
        ...
