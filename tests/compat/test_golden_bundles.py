"""Bundles that earlier torch releases and formats made still load and train, whatever runs them now."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import pytest
import torch
import zstandard

import tezzeret_cli
import tezzeret_cli.errors
from tezzeret_cli.blueprints.construct import construct
from tezzeret_cli.bundle.read import read_manifest
from tezzeret_cli.bundle.target import mismatch
from tezzeret_cli.model.manifest import FORMAT
from tezzeret_cli.trust import UNVERIFIED

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.tar.zst"))

CONSUMER = """
import sys
import torch, tezzeret_cli
from tezzeret_cli.trust import UNVERIFIED
module = tezzeret_cli.load(sys.argv[1], on_guard_miss="raise", trust=UNVERIFIED)
x = torch.randn(5, 64, requires_grad=True)
module(x).square().sum().backward()
assert x.grad is not None and module.weight.grad is not None
assert not [name for name in sys.modules if name.startswith(("torch._inductor", "torch._dynamo."))]
"""


@pytest.fixture(params=GOLDEN, ids=lambda path: path.name.removesuffix(".tar.zst"))
def golden(request, tmp_path):
    """An unpacked golden bundle of ``batch_norm_1d``."""
    folder = tmp_path / "golden"
    data = zstandard.ZstdDecompressor().decompress(request.param.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(folder, filter="data")
    manifest, _ = read_manifest(folder)
    made_with = manifest.key_factors["tool format"], manifest.toolchain.torch.partition("+")[0]
    assert request.param.name == "format-{}-torch-{}.tar.zst".format(*made_with)
    if reason := mismatch(manifest.target):
        pytest.skip(reason)
    return folder


def test_every_format_and_both_ends_of_torch_have_a_golden_bundle():
    found = [re.match(r"format-(\d+)\.\d+-torch-(\d+)\.(\d+)", path.name) for path in GOLDEN]
    assert {int(match[1]) for match in found} == set(range(1, FORMAT + 1))
    releases = {(int(match[2]), int(match[3])) for match in found}
    assert {(2, 13), (2, 15)} <= releases


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("batch", [2, 8, 33, 1024])
def test_a_golden_bundle_equals_eager(golden, training, batch):
    bundle = tezzeret_cli.load(golden, on_guard_miss="raise", trust=UNVERIFIED)
    manifest = bundle.tezzeret.manifest
    eager, _ = construct(manifest.factory, manifest.parameters)
    eager.load_state_dict(bundle.state_dict())
    bundle.train(training)
    eager.train(training)
    x = torch.randn(batch, 64)
    for _ in range(2):
        mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        found, expected = bundle(mine), eager(theirs)
        torch.testing.assert_close(found, expected)
        found.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-4)
    gradients = {name: p.grad for name, p in bundle.named_parameters()}
    expected_gradients = {name: p.grad for name, p in eager.named_parameters()}
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(dict(bundle.state_dict()), dict(eager.state_dict()))


def test_a_golden_bundle_trains_in_a_process_without_compiler(golden, consumer):
    done = consumer(CONSUMER, str(golden))
    assert done.returncode == 0, done.stderr


def test_a_golden_bundle_still_refuses_what_its_guards_exclude(golden):
    bundle = tezzeret_cli.load(golden, on_guard_miss="raise", trust=UNVERIFIED)
    with pytest.raises(tezzeret_cli.errors.GuardMissError, match="float64"):
        bundle(torch.randn(4, 64, dtype=torch.float64))
    with pytest.raises(tezzeret_cli.errors.GuardMissError, match="shape"):
        bundle(torch.randn(1, 64))
