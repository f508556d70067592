"""The tensors of a bundle: a safetensors file, read into memory → tensors that lie in it.

The library for such files copies each tensor; here they keep the memory that the file was read into, but for
those that do not begin where torch itself would have put them: a step with these takes a tenth longer. These
are moved without torch, whose first copy in a process takes half a millisecond.
"""

from __future__ import annotations

import math
import mmap
from typing import Any

import msgspec
import torch
from torch import Tensor

from tezzeret_cli.errors import DamagedBundleError

_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, known) for name, known in _NAMES.items()}
_METADATA = "__metadata__"

ALIGNMENT = 64
"""Bytes, as of torch's own memory for the CPU."""


class _Entry(msgspec.Struct, gc=False):
    """``data_offsets`` are the first byte and the one behind the last, counted from the header's end."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


_DECODER = msgspec.json.Decoder(dict[str, _Entry])
_WITH_METADATA = msgspec.json.Decoder(dict[str, msgspec.Raw])


def tensors_in(file: memoryview) -> dict[str, Tensor]:
    """The tensors of a safetensors ``file`` by name, each of a storage of its own: in the file's memory where
    it is aligned there.

    Raises ``DamagedBundleError`` unless the header describes every byte behind it once.
    """
    start = 8 + int.from_bytes(file[:8], "little")
    if not 8 <= start <= len(file):
        raise DamagedBundleError("tensors: the header's length is not the one of a safetensors file")
    entries = _entries(file[8:start])
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        dtype = _DTYPES.get(entry.dtype)
        if dtype is None or min(entry.shape, default=0) < 0:
            raise DamagedBundleError(f"tensors: {name!a} is of an unknown kind")
        first, behind = entry.data_offsets
        if first != end or behind - first != math.prod(entry.shape) * dtype.itemsize:
            raise DamagedBundleError(f"tensors: {name!a} is not where or not as long as it should be")
        end = behind
    if start + end != len(file):
        raise DamagedBundleError("tensors: the file is not as long as its tensors")
    return _tensors(file, start, entries)


def _entries(header: memoryview) -> dict[str, _Entry]:
    try:
        if _METADATA.encode() not in bytes(header):
            return _DECODER.decode(header)
        raw = _WITH_METADATA.decode(header)
        raw.pop(_METADATA, None)
        return {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
    except (ValueError, RecursionError) as error:
        raise DamagedBundleError(f"tensors: their header cannot be read: {error}") from error


def _tensors(file: memoryview, start: int, entries: dict[str, _Entry]) -> dict[str, Tensor]:
    where = {name: (file, start + entry.data_offsets[0]) for name, entry in entries.items()}
    base = torch.frombuffer(file, dtype=torch.uint8).data_ptr()
    odd = {name: at for name, (_, at) in where.items() if (base + at) % ALIGNMENT}
    sizes = {name: entries[name].data_offsets[1] - entries[name].data_offsets[0] for name in odd}
    room = sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes.values())
    if room:
        memory, filled = memoryview(mmap.mmap(-1, room, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)), 0
        for name, at in odd.items():
            memory[filled : filled + sizes[name]] = file[at : at + sizes[name]]
            where[name] = (memory, filled)
            filled += -(-sizes[name] // ALIGNMENT) * ALIGNMENT
    return {name: _tensor(*where[name], entry) for name, entry in entries.items()}


def _tensor(memory: memoryview, at: int, entry: _Entry) -> Tensor:
    dtype = _DTYPES[entry.dtype]
    count = math.prod(entry.shape)
    if not count:
        return torch.empty(entry.shape, dtype=dtype)
    return torch.frombuffer(memory, dtype=dtype, count=count, offset=at).view(entry.shape)


def aligned(file: bytes) -> bytes:
    """A safetensors file whose tensors begin aligned in it, as far as that goes without gaps: spaces end its
    header, and tensors of whole multiples come first."""
    start = 8 + int.from_bytes(file[:8], "little")
    header: dict[str, dict[str, Any]] = msgspec.json.decode(file[8:start])
    kept = {_METADATA: header.pop(_METADATA)} if _METADATA in header else {}
    parts = {
        name: file[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]]
        for name, entry in header.items()
    }
    order = sorted(header, key=lambda name: (len(parts[name]) % ALIGNMENT != 0, header[name]["data_offsets"]))
    end = 0
    for name in order:
        header[name]["data_offsets"] = [end, end := end + len(parts[name])]
    text = msgspec.json.encode({**kept, **{name: header[name] for name in order}})
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return b"".join((len(text).to_bytes(8, "little"), text, *(parts[name] for name in order)))


_FIRST = msgspec.json.encode({"": {"dtype": "U8", "shape": [1, 1], "data_offsets": [0, 1]}})
tensors_in(memoryview(bytearray(b"".join((len(_FIRST).to_bytes(8, "little"), _FIRST, b"\0")))))
# A load should not pay for what torch sets up with the first view of a process.
