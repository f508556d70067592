"""Segments: the files of a log, each made whole before it has its name."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tezzeret_cli.wal.disk import Disk, opened, sync_folder, write_all
from tezzeret_cli.wal.frame import (
    HEADER,
    MAX_PAYLOAD,
    Fault,
    Frame,
    Type,
    continues,
    decode_header,
    read_payload,
)

SUFFIX = ".wal"
DRAFT = ".tmp"
QUARANTINE = "quarantine"
_NAME = re.compile(r"([0-9]{10})\.wal")


class Opening(msgspec.Struct, frozen=True):
    """The payload of a segment's first frame.

    The predecessor ends, for good, at ``predecessor_length`` with ``predecessor_chain``, whatever its file
    holds after that; 0 is no predecessor. The first ``whole`` frames after this one were durable before
    the segment got its name. A ``base`` segment begins with a snapshot that stands for all before it.
    """

    journal: bytes
    predecessor: int
    predecessor_length: int
    predecessor_chain: bytes
    whole: int = 0
    base: bool = False


class Segment(msgspec.Struct, frozen=True):
    """A segment as its first frame describes it."""

    number: int
    path: Path
    first: Frame
    opening: Opening


def name(number: int) -> str:
    return f"{number:010d}{SUFFIX}"


def numbers(names: Iterable[str]) -> list[int]:
    """The numbers of the segments among a folder's names, ascending."""
    return sorted(int(match[1]) for match in map(_NAME.fullmatch, names) if match)


def new_salt() -> bytes:
    return secrets.token_bytes(16)


def create(disk: Disk, folder: Path, number: int, parts: Iterable[bytes]) -> Path:
    """Write the segment ``number`` and make it and its name durable. Raises ``OSError``.

    Until the rename there is only a draft, which the next opening sweeps away.
    """
    target = folder / name(number)
    draft = target.with_suffix(DRAFT)
    with opened(disk, draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND) as descriptor:
        for part in parts:
            write_all(disk, descriptor, part)
        disk.fsync(descriptor)
    disk.rename(draft, target)
    sync_folder(disk, folder)
    return target


def read_opening(disk: Disk, folder: Path, number: int) -> Segment | Fault:
    """The first frame of a segment, checked by itself. Raises ``OSError``."""
    path = folder / name(number)
    with opened(disk, path, os.O_RDONLY) as descriptor:
        data = disk.read(descriptor, HEADER, 0)
        frame = decode_header(data, 0, 0)
        if isinstance(frame, Fault):
            return frame
        data += disk.read(descriptor, min(frame.next_offset, HEADER + MAX_PAYLOAD) - HEADER, HEADER)
    fault = read_payload(data, 0, frame)
    if fault:
        return fault
    if frame.segment != number:
        return Fault.SEGMENT
    if frame.type != Type.SEGMENT:
        return Fault.OPENING
    try:
        opening = msgspec.msgpack.decode(frame.payload, type=Opening)
    except msgspec.DecodeError:
        return Fault.OPENING
    if not continues(data, 0, frame, opening.predecessor_chain):
        return Fault.CHAIN
    return Segment(number, path, frame, opening)
