"""The last step in the child: import the entry, call it, answer."""

from __future__ import annotations

import faulthandler
import importlib
import os
import socket
import sys
import traceback
from collections.abc import Callable

import msgspec

from tezzeret_cli.worker.protocol import HEADER, AnswerFrame, StageFrame, StartRequest, send
from tezzeret_cli.worker.task import Raised, Returned, Task

Entry = Callable[[bytes, Callable[[str], None]], bytes]


def run_entry(task: Task, channel: socket.socket) -> None:
    """Call the task's entry and send the answer. Ends the process."""
    faulthandler.enable()
    try:
        module, _, name = task.entry.partition(":")
        entry: Entry = getattr(importlib.import_module(module), name)
        result = entry(task.payload, lambda stage: send(channel, StageFrame(str(stage))))
        if not isinstance(result, bytes) or len(result) > task.limits.result_bytes:
            raise ValueError(f"the entry answered with more than {task.limits.result_bytes} bytes or none")
        answer = AnswerFrame(Returned(result))
    except BaseException as error:
        answer = AnswerFrame(Raised(type(error).__name__[:100], _text(error), _trace(error)))
        traceback.print_exc()
    send(channel, answer)
    channel.close()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


def _text(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except Exception as broken:
        return f"its message cannot be shown ({type(broken).__name__})"


def _trace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))[-20_000:]
    except Exception as broken:
        return f"its traceback cannot be shown ({type(broken).__name__})"


def main() -> None:
    """Entry of a fresh interpreter: the task comes in over the inherited socket."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    (size,) = HEADER.unpack(_exactly(channel, HEADER.size))
    request = msgspec.msgpack.decode(_exactly(channel, size), type=StartRequest)
    run_entry(request.task, channel)


def _exactly(channel: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = channel.recv(count - len(data))
        if not piece:
            raise EOFError("the guardian closed the channel")
        data += piece
    return data


if __name__ == "__main__":
    main()
