"""Frames as bytes: a 256-byte little-endian header, the payload, zeros up to 8 bytes. No I/O."""

from __future__ import annotations

import enum
import itertools
import struct
from collections.abc import Iterable

import msgspec
from xxhash import xxh3_64_intdigest, xxh3_128_digest

MAGIC = b"ESPERWAL"
VERSION = 1
HEADER = 256
ENDIAN = 0x12345678
MAX_PAYLOAD = 64 << 20
IGNORABLE = 0x8000
NO_TXN = bytes(16)
NO_CHAIN = bytes(16)
SECTOR = 512


class Type(enum.IntEnum):
    """What a frame is. A type that is not listed is skipped if it has ``IGNORABLE``, else refused."""

    BEGIN = 1
    DATA = 2
    COMMIT = 3
    ABORT = 4
    SEGMENT = 0x10
    SEAL = 0x11


class Flag(enum.IntFlag):
    """Bits of a frame's flags."""

    SNAPSHOT = 1
    """A payload of the snapshot that a compaction wrote."""
    ZEROS = 2
    """Some sector's share of the payload is all zeros by nature, so zeros prove no torn write."""


class Entry(msgspec.Struct, frozen=True):
    """What to append: a type, the transaction it belongs to (16 bytes), and a payload of at most 64 MiB."""

    type: Type
    txn: bytes
    payload: bytes = b""
    schema: int = 0
    flags: Flag = Flag(0)


class Fault(enum.Enum):
    """Why the bytes at an offset are not the next frame."""

    SHORT = "the file ends inside the frame"
    CHECKSUM = "the header's checksum is wrong"
    PAYLOAD = "the payload's hash is wrong"
    PADDING = "the padding is not zero"
    HEADER = "the header is whole and contradicts itself"
    NEWER = "it was written by a newer version"
    SIZE = "the payload is larger than allowed"
    OFFSET = "it says it stands elsewhere"
    SALT = "it belongs to another segment's salt"
    SEGMENT = "it belongs to another segment or epoch"
    SEQUENCE = "its sequence is not the next one"
    CHAIN = "it does not continue the chain of hashes"
    OPENING = "the segment does not begin as a segment does"
    SEAL = "the file is not what its successor says it was"
    AFTER_SEAL = "something follows the seal"
    MISSING = "a segment is missing"


class Frame(msgspec.Struct, gc=False):
    """A frame that was read and found whole. Not mutated after that."""

    type: int
    flags: int
    schema: int
    txn: bytes
    sequence: int
    epoch: int
    timestamp: int
    durable: int
    segment: int
    salt: bytes
    chain: bytes
    size: int
    next_offset: int
    payload: bytes


_FRONT = struct.Struct("<16s16sQ16sHHIQQ16s16s")
"""Everything before the chain; what the frames of a group have in common is packed once, by ``_SAME`` and
``_PAIR``."""
_SAME = struct.Struct("<8sHHI")
_PAIR = struct.Struct("<QQ")
_HEAD = struct.Struct("<112s16s16s104x")
"""Everything before the header's checksum."""
_WHOLE = struct.Struct("<8sHHI16sQQQHHIQQQQ16s16s16s104xQ")
_SUM = struct.Struct("<Q")
_PADDING = [bytes(-size % 8) for size in range(8)]
"""By the payload's size, of which only the last three bits matter."""
_KNOWN = frozenset(Type)


def padded(size: int) -> int:
    """The length of a payload with its padding."""
    return (size + 7) & ~7


def encode(
    entries: Iterable[Entry],
    first: int,
    epoch: int,
    timestamp: int,
    durable: int,
    segment: int,
    salt: bytes,
    chain: bytes,
    offset: int,
) -> tuple[bytes, bytes]:
    """Entries as frames that stand at ``offset``, sequences from ``first`` on, and the chain after them.
    ``chain`` is that of the frame before.

    A durable append waits for this, and its time for a record is what a large group costs: hence no call
    and no object that could be spared.
    """
    front_of, head_of, sum_of = _FRONT.pack, _HEAD.pack, _SUM.pack
    hash_128, hash_64 = xxh3_128_digest, xxh3_64_intdigest
    same = _SAME.pack(MAGIC, VERSION, HEADER, ENDIAN)
    when = _PAIR.pack(epoch, timestamp)
    where = _PAIR.pack(durable, segment)
    parts: list[bytes] = []
    add = parts.append
    for sequence, entry in enumerate(entries, first):
        payload = entry.payload
        size = len(payload)
        flags: int = entry.flags
        if 0 in payload and naturally_zero(payload, offset + HEADER):
            flags |= Flag.ZEROS
        offset += HEADER + ((size + 7) & ~7)
        front = front_of(
            same,
            entry.txn,
            sequence,
            when,
            entry.type,
            flags,
            entry.schema,
            size,
            offset,
            where,
            hash_128(payload),
        )
        chain = hash_128(chain + front)
        head = head_of(front, chain, salt)
        add(head)
        add(sum_of(hash_64(head)))
        add(payload)
        if size & 7:
            add(_PADDING[size & 7])
    return b"".join(parts), chain


def decode_header(data: bytes, at: int, offset: int) -> Frame | Fault:
    """The header at ``data[at:]``, which stands at ``offset`` of its file; its payload is left empty.

    Nothing in a header is believed before its checksum holds.
    """
    if len(data) - at < HEADER:
        return Fault.SHORT
    head = data[at : at + 248]
    (
        magic,
        version,
        length,
        endian,
        txn,
        sequence,
        epoch,
        timestamp,
        kind,
        flags,
        schema,
        size,
        next_offset,
        durable,
        segment,
        _,
        chain,
        salt,
        checksum,
    ) = _WHOLE.unpack_from(data, at)
    if xxh3_64_intdigest(head) != checksum:
        return Fault.CHECKSUM
    if magic != MAGIC or endian != ENDIAN:
        return Fault.HEADER
    if version != VERSION:
        return Fault.NEWER if version > VERSION else Fault.HEADER
    if length != HEADER or kind in (0, IGNORABLE):
        return Fault.HEADER
    if kind not in _KNOWN and not kind & IGNORABLE:
        return Fault.NEWER
    if size > MAX_PAYLOAD:
        return Fault.SIZE
    if next_offset != offset + HEADER + ((size + 7) & ~7):
        return Fault.OFFSET
    return Frame(
        kind,
        flags,
        schema,
        txn,
        sequence,
        epoch,
        timestamp,
        durable,
        segment,
        salt,
        chain,
        size,
        next_offset,
        b"",
    )


def read_payload(data: bytes, at: int, frame: Frame) -> Fault | None:
    """Take the payload of the frame whose header stands at ``data[at:]``, if it is what the header says."""
    start = at + HEADER
    end = start + frame.size
    if len(data) < start + padded(frame.size):
        return Fault.SHORT
    payload = data[start:end]
    if xxh3_128_digest(payload) != data[at + 96 : at + 112]:
        return Fault.PAYLOAD
    extra = -frame.size & 7
    if data[end : end + extra] != _PADDING[frame.size & 7]:
        return Fault.PADDING
    frame.payload = payload
    return None


def continues(data: bytes, at: int, frame: Frame, chain: bytes) -> bool:
    """Whether the frame at ``data[at:]`` continues the chain of hashes."""
    return xxh3_128_digest(chain + data[at : at + 112]) == frame.chain


def pieces(start: int, end: int) -> list[tuple[int, int]]:
    """The range cut where sectors end: what a device writes wholly or not at all."""
    edges = [start, *range((start // SECTOR + 1) * SECTOR, end, SECTOR), end]
    return list(itertools.pairwise(edges)) if start < end else []


def naturally_zero(payload: bytes, offset: int) -> bool:
    """Whether some sector's share of a payload that begins at ``offset`` is all zeros."""
    edge = -offset % SECTOR
    if payload[:1] != b"\0" and 0 not in payload[edge::SECTOR]:
        return False  # No share begins with a zero.
    return any(
        not payload[a - offset : b - offset].strip(b"\0") for a, b in pieces(offset, offset + len(payload))
    )
