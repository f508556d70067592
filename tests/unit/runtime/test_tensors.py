"""Tensors that stay in the memory that their file was read into."""

from __future__ import annotations

import hashlib
import json
import mmap
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.support.manifests import draft
from tezzeret_cli.bundle.read import Stored, read_files
from tezzeret_cli.errors import DamagedBundleError
from tezzeret_cli.model.manifest import FileEntry, Manifest
from tezzeret_cli.runtime import tensors as module
from tezzeret_cli.runtime.tensors import aligned, tensors_in


def _file(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> memoryview:
    return memoryview(bytearray(safetensors.torch.save(tensors, metadata)))


def _with_header(header: Any, data: bytes) -> memoryview:
    text = json.dumps(header).encode()
    return memoryview(bytearray(len(text).to_bytes(8, "little") + text + data))


def _entry(shape: list[int], offsets: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize("dtype", module._DTYPES.values(), ids=str)
def test_every_kind_of_tensor_is_the_one_that_was_saved(dtype: torch.dtype) -> None:
    saved = {
        "a.weight": torch.arange(6).reshape(2, 3).to(dtype),
        "b": torch.ones((), dtype=dtype),
        "empty": torch.empty(0, 4, dtype=dtype),
    }

    found = tensors_in(_file(saved, {"a note": "is passed over"}))

    assert found.keys() == saved.keys()
    for name, tensor in saved.items():
        assert (found[name].dtype, found[name].shape) == (dtype, tensor.shape)
        assert bytes(found[name].untyped_storage()) == bytes(tensor.untyped_storage())


@pytest.mark.parametrize("odd", [0, 8], ids=["where tensors begin", "elsewhere"])
def test_tensors_begin_where_torchs_own_would(odd: int) -> None:
    saved = {"weight": torch.arange(32.0), "bias": torch.arange(3.0), "last": torch.arange(5)}
    file = aligned(safetensors.torch.save(saved))
    shifted = memoryview(bytearray(odd + len(file)))[odd:]
    shifted[:] = file
    found = tensors_in(shifted)
    assert {name: tensor.data_ptr() % 64 for name, tensor in found.items()} == dict.fromkeys(saved, 0)
    for name, tensor in saved.items():
        assert torch.equal(found[name], tensor)


def test_padding_changes_nothing_for_other_readers() -> None:
    saved = {"weight": torch.arange(32.0), "bias": torch.arange(3.0)}
    file = aligned(safetensors.torch.save(saved))
    assert (8 + int.from_bytes(file[:8], "little")) % 64 == 0
    read = safetensors.torch.load(file)
    assert read.keys() == saved.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in saved.items())
    assert aligned(file) == file


def test_tensors_of_whole_multiples_stay_where_they_were_read() -> None:
    saved = {"a": torch.arange(3.0), "b": torch.arange(64.0), "c": torch.arange(5.0), "d": torch.arange(32.0)}
    file = memoryview(_aligned_memory(aligned(safetensors.torch.save(saved))))
    start = torch.frombuffer(file, dtype=torch.uint8).data_ptr()

    found = tensors_in(file)

    inside = {name for name, tensor in found.items() if start <= tensor.data_ptr() < start + len(file)}
    assert inside == {"a", "b", "d"}  # of those that are odd, the first one begins aligned, too
    assert all(torch.equal(found[name], tensor) for name, tensor in saved.items())


def _aligned_memory(content: bytes) -> mmap.mmap:
    memory = mmap.mmap(-1, len(content))
    memory.write(content)
    return memory


def test_tensors_share_no_storage_and_outlive_what_they_were_read_from() -> None:
    found = tensors_in(_file({"a": torch.zeros(4), "b": torch.zeros(4)}))

    found["a"].add_(1)

    assert found["b"].tolist() == [0, 0, 0, 0]
    storages = [tensor.untyped_storage() for tensor in found.values()]
    assert storages[0].data_ptr() != storages[1].data_ptr()
    assert [storage.nbytes() for storage in storages] == [16, 16]


@pytest.mark.parametrize(
    "header",
    [
        {"a": _entry([2], [0, 8])},
        {"a": _entry([4], [0, 8]), "b": _entry([2], [8, 16])},
        {"a": _entry([4], [0, 16]), "b": _entry([2], [8, 16])},
        {"a": _entry([2], [8, 16])},
        {"a": _entry([8], [0, 32])},
        {"a": _entry([-2, -2], [0, 16])},
        {"a": _entry([4], [0, 16], "F4")},
        {"a": _entry([4], [16, 0])},
        {"a": {"dtype": "F32", "shape": [4]}},
        ["a"],
    ],
    ids=str,
)
def test_a_header_that_does_not_describe_every_byte_once_is_refused(header: Any) -> None:
    with pytest.raises(DamagedBundleError):
        tensors_in(_with_header(header, bytes(16)))


@given(st.data())
def test_a_damaged_file_gives_an_error_or_tensors_and_nothing_else(data: st.DataObject) -> None:
    file = _file({"a": torch.ones(3, 2), "b": torch.zeros(5, dtype=torch.int64)})
    at = data.draw(st.integers(0, len(file) - 1))
    file[at] = data.draw(st.integers(0, 255))
    try:
        found = tensors_in(file[: data.draw(st.integers(0, len(file)))])
    except DamagedBundleError:
        return
    assert sum(tensor.nbytes for tensor in found.values()) == 64


@pytest.mark.parametrize("size", [0, 5, (1 << 20) - 1, (2 << 20) - 1, 2 << 20, (4 << 20) + 3])
def test_files_of_any_size_are_read_into_memory_that_can_be_written(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)

    stored = _read(tmp_path, content[:size])

    assert stored == content[:size]
    assert isinstance(stored, memoryview)
    assert not stored.readonly


def test_a_file_that_differs_from_the_manifest_is_refused_before_it_is_handed_out(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"12345")
    wrong = FileEntry("data", 5, hashlib.sha256(b"12346").hexdigest(), 5)

    with pytest.raises(DamagedBundleError, match="sha256"):
        read_files(tmp_path, _manifest(tmp_path, wrong), writable=("data",))


def _read(folder: Path, content: bytes) -> Stored:
    (folder / "data").write_bytes(content)
    entry = FileEntry("data", len(content), hashlib.sha256(content).hexdigest(), len(content))
    return read_files(folder, _manifest(folder, entry), writable=("data",))["data"]


def _manifest(folder: Path, entry: FileEntry) -> Manifest:
    (folder / "manifest.json").write_bytes(b"")
    return draft(files=(entry,))
