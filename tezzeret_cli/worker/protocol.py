"""Frames between parent, zygote, guardian and child: a length, then msgpack. Sockets only, no pickle."""

from __future__ import annotations

import socket
import struct

import msgspec

from tezzeret_cli.host.memory_group import GroupPlace
from tezzeret_cli.worker.task import Ending, Task

HEADER = struct.Struct("<I")
STAGE_LIMIT = 200


class StageFrame(msgspec.Struct, frozen=True, tag="stage"):
    """The child entered a stage; at most ``STAGE_LIMIT`` characters."""

    stage: str


class AnswerFrame(msgspec.Struct, frozen=True, tag="answer"):
    """The child's own account of how the call ended: returned or raised."""

    ending: Ending


class EndFrame(msgspec.Struct, frozen=True, tag="end"):
    """The guardian's verdict; the last frame of a task."""

    ending: Ending
    duration_s: float
    peak_bytes: int


TaskFrame = StageFrame | AnswerFrame | EndFrame


class WarmFrame(msgspec.Struct, frozen=True):
    """The warm process's first and only frame: it is ready, or ``problem`` says why not. ``lacking`` is what
    its tasks will not be held by."""

    problem: str | None
    lacking: tuple[str, ...] = ()


class StartRequest(msgspec.Struct, frozen=True):
    """Parent to zygote: run this task; its socket comes along as a descriptor. ``groups`` is where its memory
    group is made."""

    task: Task
    groups: GroupPlace | None = None


class Buffer:
    """Cuts a byte stream into frames. A frame longer than ``limit`` raises ``ValueError``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        self._bytes += data
        frames = []
        while len(self._bytes) >= HEADER.size:
            (size,) = HEADER.unpack_from(self._bytes)
            if size > self._limit:
                raise ValueError(f"a frame of {size} bytes is over the limit of {self._limit}")
            if len(self._bytes) < HEADER.size + size:
                break
            frames.append(bytes(self._bytes[HEADER.size : HEADER.size + size]))
            del self._bytes[: HEADER.size + size]
        return frames


def send(channel: socket.socket, frame: msgspec.Struct) -> None:
    """Write one frame whole."""
    body = msgspec.msgpack.encode(frame)
    channel.sendall(HEADER.pack(len(body)) + body)
