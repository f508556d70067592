"""Frames as bytes: what is written is read, and every way of being wrong has its own name."""

from __future__ import annotations

import struct

import msgspec
import pytest
from xxhash import xxh3_64_intdigest

from tezzeret_cli.wal.frame import (
    HEADER,
    MAX_PAYLOAD,
    NO_CHAIN,
    Entry,
    Fault,
    Flag,
    Frame,
    Type,
    continues,
    decode_header,
    encode,
    naturally_zero,
    pieces,
    read_payload,
)

ENTRY = Entry(Type.DATA, b"t" * 16, b"payload", schema=5)
PLACE = {
    "first": 7,
    "epoch": 2,
    "timestamp": 99,
    "durable": 6,
    "segment": 3,
    "salt": b"s" * 16,
    "chain": b"c" * 16,
    "offset": 512,
}


def made(**changes) -> bytes:
    return encode([msgspec.structs.replace(ENTRY, **changes)], **PLACE)[0]


def with_field(data: bytes, offset: int, form: str, value: int) -> bytes:
    """The frame with one header field changed and the checksum made right again."""
    changed = bytearray(data)
    struct.pack_into(form, changed, offset, value)
    struct.pack_into("<Q", changed, 248, xxh3_64_intdigest(bytes(changed[:248])))
    return bytes(changed)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 1000])
def test_what_is_encoded_is_decoded(size):
    payload = b"x" * size
    data, chain = encode([msgspec.structs.replace(ENTRY, payload=payload)], **PLACE)
    frame = decode_header(data, 0, 512)
    assert isinstance(frame, Frame)
    assert read_payload(data, 0, frame) is None
    assert (frame.type, frame.txn, frame.payload, frame.sequence) == (Type.DATA, b"t" * 16, payload, 7)
    assert (frame.epoch, frame.timestamp, frame.durable, frame.segment) == (2, 99, 6, 3)
    assert (frame.salt, frame.chain, frame.schema) == (b"s" * 16, chain, 5)
    assert frame.next_offset == 512 + len(data)
    assert len(data) % 8 == 0
    assert continues(data, 0, frame, b"c" * 16)
    assert not continues(data, 0, frame, NO_CHAIN)


def test_frames_of_a_group_are_those_made_one_by_one():
    entries = [msgspec.structs.replace(ENTRY, payload=b"x" * size, schema=size) for size in range(20)]
    group, last = encode(entries, **PLACE)
    single, place = b"", dict(PLACE)
    for number, entry in enumerate(entries):
        data, place["chain"] = encode([entry], **place)
        single += data
        place.update(first=PLACE["first"] + number + 1, offset=PLACE["offset"] + len(single))
    assert (group, last) == (single, place["chain"])


def test_the_header_is_laid_out_as_documented():
    data = made()
    assert data[:8] == b"ESPERWAL"
    assert struct.unpack_from("<HHI", data, 8) == (1, 256, 0x12345678)
    assert data[16:32] == b"t" * 16
    assert struct.unpack_from("<QQQ", data, 32) == (7, 2, 99)
    assert struct.unpack_from("<HHI", data, 56) == (2, 0, 5)
    assert struct.unpack_from("<QQQQ", data, 64) == (7, 512 + 264, 6, 3)
    assert data[128:144] == b"s" * 16
    assert data[144:248] == bytes(104)
    assert data[256:] == b"payload\0"


@pytest.mark.parametrize(
    ("offset", "form", "value", "fault"),
    [
        (0, "<Q", 1, Fault.HEADER),
        (8, "<H", 2, Fault.NEWER),
        (8, "<H", 0, Fault.HEADER),
        (10, "<H", 128, Fault.HEADER),
        (12, "<I", 0x78563412, Fault.HEADER),
        (56, "<H", 0, Fault.HEADER),
        (56, "<H", 0x8000, Fault.HEADER),
        (56, "<H", 5, Fault.NEWER),
        (56, "<H", 0x7FFF, Fault.NEWER),
        (64, "<Q", MAX_PAYLOAD + 1, Fault.SIZE),
        (64, "<Q", 100, Fault.OFFSET),
        (72, "<Q", 8, Fault.OFFSET),
    ],
)
def test_a_header_that_was_written_wrong_says_how(offset, form, value, fault):
    assert decode_header(with_field(made(), offset, form, value), 0, 512) is fault


def test_no_field_is_believed_before_the_checksum_holds():
    data = bytearray(made())
    data[8] = 9
    assert decode_header(bytes(data), 0, 512) is Fault.CHECKSUM


def test_a_type_of_the_future_that_may_be_skipped_is_read():
    frame = decode_header(made(type=0x8005), 0, 512)
    assert isinstance(frame, Frame)
    assert frame.type == 0x8005


@pytest.mark.parametrize(
    ("at", "fault"), [(HEADER, Fault.PAYLOAD), (HEADER + 7, Fault.PADDING)], ids=["payload", "padding"]
)
def test_a_changed_payload_or_padding_is_refused(at, fault):
    data = bytearray(made())
    data[at] ^= 1
    frame = decode_header(bytes(data), 0, 512)
    assert read_payload(bytes(data), 0, frame) is fault
    assert frame.payload == b""


@pytest.mark.parametrize("length", [0, 8, 255, 256, 263])
def test_a_frame_cut_short_says_so(length):
    data = made()[:length]
    frame = decode_header(data, 0, 512)
    assert (frame if length < HEADER else read_payload(data, 0, frame)) is Fault.SHORT


def test_pieces_are_cut_where_sectors_end():
    assert pieces(500, 1100) == [(500, 512), (512, 1024), (1024, 1100)]
    assert pieces(512, 1024) == [(512, 1024)]
    assert pieces(9, 9) == []


@pytest.mark.parametrize(
    ("payload", "offset", "expected"),
    [
        (b"x" * 600, 0, False),
        (b"x" * 512 + bytes(10), 0, True),
        (b"x" * 512 + bytes(10), 8, False),
        (b"x\0" * 300, 256, False),
        (bytes(1000), 256, True),
    ],
)
def test_a_payload_with_zeros_of_its_own_says_so(payload, offset, expected):
    assert naturally_zero(payload, offset) is expected
    place = {**PLACE, "offset": offset + 4096 - HEADER}
    data, _ = encode([msgspec.structs.replace(ENTRY, payload=payload)], **place)
    frame = decode_header(data, 0, place["offset"])
    assert bool(frame.flags & Flag.ZEROS) is expected
