"""Nothing is opened before it is verified: every kind of damage ends in one clear error."""

from __future__ import annotations

import functools
import json
import os
import shutil

import pytest

import tezzeret_cli
from tezzeret_cli.errors import DamagedBundleError, TargetMismatchError
from tezzeret_cli.trust import UNVERIFIED

load = functools.partial(tezzeret_cli.load, trust=UNVERIFIED)
"""Damage is found whoever signed the bundle; ``tests/unit/trust`` is about signatures."""


@pytest.fixture
def bundle(forged, tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(forged.path("mlp"), copy)
    return copy


def edit(bundle, change):
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def files(bundle):
    return [entry["path"] for entry in json.loads((bundle / "manifest.json").read_text())["files"]]


def test_a_flipped_byte_in_any_file_is_refused(bundle):
    for name in files(bundle):
        path = bundle / name
        original = path.read_bytes()
        middle = len(original) // 2
        path.write_bytes(original[:middle] + bytes([original[middle] ^ 1]) + original[middle + 1 :])
        with pytest.raises(DamagedBundleError, match="sha256 differs"):
            load(bundle)
        path.write_bytes(original)
    load(bundle)


def test_a_truncated_or_grown_file_is_refused(bundle):
    path = bundle / files(bundle)[0]
    original = path.read_bytes()
    for data in (original[:-1], original + b"\0", b""):
        path.write_bytes(data)
        with pytest.raises(DamagedBundleError):
            load(bundle)


def test_a_missing_file_is_refused(bundle):
    (bundle / files(bundle)[-1]).unlink()
    with pytest.raises(DamagedBundleError, match="cannot be opened"):
        load(bundle)


def test_an_added_file_is_refused(bundle):
    (bundle / "lib" / "extra.so").write_bytes(b"")
    with pytest.raises(DamagedBundleError, match="does not list"):
        load(bundle)


def test_a_symbolic_link_in_place_of_a_file_is_refused(bundle, tmp_path):
    path = bundle / files(bundle)[0]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedBundleError):
        load(bundle)


def test_a_fifo_in_place_of_a_file_does_not_hang(bundle):
    path = bundle / files(bundle)[0]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DamagedBundleError, match="not a regular file"):
        load(bundle)


@pytest.mark.parametrize("path", ["../tensors.safetensors", "/etc/passwd", "lib/./a", "lib\\a", "", "a//b"])
def test_an_unsafe_path_in_the_manifest_is_refused(bundle, path):
    edit(bundle, lambda manifest: manifest["files"].append({**manifest["files"][0], "path": path}))
    with pytest.raises(DamagedBundleError):
        load(bundle)


def test_a_manifest_that_is_not_one_is_refused(bundle):
    for text in ("", "{", "[]", '{"format": 1}', "\xff"):
        (bundle / "manifest.json").write_text(text, encoding="latin-1")
        with pytest.raises(DamagedBundleError):
            load(bundle)


def test_a_newer_format_is_refused_with_the_remedy(bundle):
    edit(bundle, lambda manifest: manifest.update(format=99))
    with pytest.raises(DamagedBundleError, match="newer"):
        load(bundle)


def test_an_empty_folder_is_not_a_bundle(tmp_path):
    with pytest.raises(DamagedBundleError, match=r"manifest\.json: cannot be opened.*; give the folder"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "riscv64"}, "riscv64"),
        ({"system": "plan9"}, "plan9"),
        ({"cpu_flags": ["avx512f", "warp_drive"]}, "lacks warp_drive"),
        ({"symbols": {"GLIBC": "9.99"}}, "GLIBC 9.99"),
        ({"device": "cuda"}, "CUDA"),
    ],
    ids=["architecture", "system", "extension", "libc", "device"],
)
def test_a_bundle_for_another_machine_is_refused_before_anything_is_opened(bundle, change, message):
    edit(bundle, lambda manifest: manifest["target"].update(change))
    (bundle / files(bundle)[0]).unlink()
    with pytest.raises(TargetMismatchError, match=message):
        load(bundle)
