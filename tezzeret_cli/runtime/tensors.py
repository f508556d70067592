"""The tensors of a bundle: a safetensors file, read into memory → tensors that lie in it.

The library for such files copies each tensor; here they keep the memory that the file was read into, but for
those that do not begin where torch itself would have put them: a step with these takes a tenth longer.
"""

from __future__ import annotations

import math

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
    return {name: _tensor(file, start, entry) for name, entry in entries.items()}


def _entries(header: memoryview) -> dict[str, _Entry]:
    try:
        if _METADATA.encode() not in bytes(header):
            return _DECODER.decode(header)
        raw = _WITH_METADATA.decode(header)
        raw.pop(_METADATA, None)
        return {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
    except (ValueError, RecursionError) as error:
        raise DamagedBundleError(f"tensors: their header cannot be read: {error}") from error


def _tensor(file: memoryview, start: int, entry: _Entry) -> Tensor:
    dtype = _DTYPES[entry.dtype]
    count = math.prod(entry.shape)
    if not count:
        return torch.empty(entry.shape, dtype=dtype)
    flat = torch.frombuffer(file, dtype=dtype, count=count, offset=start + entry.data_offsets[0])
    if flat.data_ptr() % ALIGNMENT:
        flat = flat.clone()
    return flat.view(entry.shape)


def aligned(file: bytes) -> bytes:
    """A safetensors file with spaces at the end of its header, so that its tensors begin aligned in it."""
    length = int.from_bytes(file[:8], "little")
    padding = -(8 + length) % ALIGNMENT
    return b"".join(
        ((length + padding).to_bytes(8, "little"), file[8 : 8 + length], b" " * padding, file[8 + length :])
    )
