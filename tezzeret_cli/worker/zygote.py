"""The warm process that tasks are forked from: it imported what they need, once.

It has no threads of its own and never touches a GPU, so a fork of it is sound. It collects no garbage, and
what it imported is no child's garbage to look for either (``gc.freeze``), which is a tenth of a job's Python.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import sys
import traceback
from typing import NoReturn

import msgspec

from tezzeret_cli.worker import process
from tezzeret_cli.worker.child import run_entry
from tezzeret_cli.worker.guardian import guard
from tezzeret_cli.worker.namespaces import Available, Spaces, available
from tezzeret_cli.worker.priority import give_way
from tezzeret_cli.worker.protocol import Buffer, StartRequest, WarmFrame, send
from tezzeret_cli.worker.task import Priority, Task


def main() -> None:
    """``zygote FD PARENT MODULE…``: import the modules, say ready, fork a guardian per request."""
    control = socket.socket(fileno=int(sys.argv[1]))
    process.die_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    give_way(Priority.ORDINARY)
    gc.disable()
    here = available()
    for name in sys.argv[3:]:
        try:
            importlib.import_module(name)
        except BaseException:
            _give_up(control, traceback.format_exc(limit=-3)[-4000:])
    threads = os.listdir("/proc/self/task")
    if len(threads) > 1:
        _give_up(control, f"importing {sys.argv[3:]} left {len(threads) - 1} threads running")
    gc.freeze()
    send(control, WarmFrame(None, _lacking(here)))
    _serve(control, here.spaces)


def _give_up(control: socket.socket, problem: str) -> NoReturn:
    send(control, WarmFrame(problem))
    sys.exit(1)


def _lacking(here: Available) -> tuple[str, ...]:
    lacking = []
    if not here.spaces.processes:
        lacking.append(
            f"no process namespaces ({here.refusal}): what a job starts is found and ended one by one, and "
            "outlives a guardian that was killed"
        )
    if not here.spaces.network:
        lacking.append(f"no network namespaces ({here.refusal}): a job can reach the network")
    return tuple(lacking)


def _serve(control: socket.socket, spaces: Spaces) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    buffer = Buffer(1 << 30)
    descriptors: list[int] = []
    while True:
        data, received, _, _ = socket.recv_fds(control, 1 << 20, 16)
        process.reap()
        if not data:
            os._exit(0)
        descriptors += received
        for frame in buffer.feed(data):
            request = msgspec.msgpack.decode(frame, type=StartRequest)
            _start(request, spaces, socket.socket(fileno=descriptors.pop(0)), control)


def _start(request: StartRequest, spaces: Spaces, report: socket.socket, control: socket.socket) -> None:
    zygote = os.getpid()
    if os.fork() == 0:
        control.close()
        process.die_with_parent(zygote, signal.SIGTERM)
        try:
            guard(request, spaces, report, run_fresh if request.task.fresh else run_forked)
        finally:
            traceback.print_exc()
            os._exit(71)
    report.close()


def run_forked(task: Task, channel: socket.socket) -> None:
    """Call the entry in this fork, with the task's environment over the inherited one."""
    os.environ.update(task.env)
    gc.enable()
    run_entry(task, channel)


def run_fresh(task: Task, channel: socket.socket) -> None:
    """Replace this process by a new interpreter with exactly the task's environment.

    The task itself is sent by the guardian. The current directory stays off the module path: what a
    build left there is not trusted.
    """
    os.set_inheritable(channel.fileno(), True)
    command = [sys.executable, "-P", "-m", "tezzeret_cli.worker.child", str(channel.fileno())]
    os.execve(sys.executable, command, task.env)


if __name__ == "__main__":
    main()
