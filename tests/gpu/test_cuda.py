"""CUDA is a device like the CPU: the same road, run for real wherever there is one."""

from __future__ import annotations

import json

import pytest
import torch

import tezzeret_cli
from tests.bundle import blueprints
from tests.support.command import ROOT
from tests.support.forged import forge
from tests.support.steps import fresh, loss, tensors
from tezzeret_cli.blueprints.construct import construct
from tezzeret_cli.errors import GuardMissError
from tezzeret_cli.runtime import GuardMissWarning
from tezzeret_cli.trust import UNVERIFIED

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

CHOSEN = ("BP004", "BP006", "BP020", "BP023")

OWN = ("convolved", "rotated", "filtered", "bag", "squeezed")

CONSUMER = """
import sys
import torch, tezzeret_cli
module = tezzeret_cli.load(sys.argv[1], on_guard_miss="raise")
x = torch.randn(8, 12, 64, device="cuda", requires_grad=True)
module(x).square().sum().backward()
torch.cuda.synchronize()
assert x.grad is not None and x.grad.device.type == "cuda"
"""


@pytest.fixture(scope="module")
def cuda_store(tezzeret, tmp_path_factory):
    """A store with some of the catalogue compiled for the current CUDA device."""
    store = tmp_path_factory.mktemp("cuda") / "store"
    chosen = [part for name in CHOSEN for part in ("--select", name)]
    done = tezzeret.run(
        *("compile", "--store", str(store), "--device", "cuda", "--json", *chosen), timeout=900, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert {job["status"] for job in json.loads(done.stdout)["jobs"]} == {"compiled"}
    return store


@pytest.fixture(scope="module")
def own(tezzeret, tmp_path_factory):
    """Modules that call operations through the dispatcher, or mean a batch of one, for the same device."""
    return forge(tmp_path_factory.mktemp("own"), tezzeret, OWN, "--device", "cuda")


def load(store, name, **options):
    path = tezzeret_cli.find(store, name, device="cuda")
    return tezzeret_cli.load(path, on_guard_miss="raise", trust=UNVERIFIED, **options)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", CHOSEN)
def test_a_cuda_bundle_trains_like_eager_at_every_batch(cuda_store, name, training):
    bundle = load(cuda_store, name)
    manifest = bundle.tezzeret.manifest
    module, calls = construct(manifest.factory, manifest.parameters)
    module = module.cuda()
    module.load_state_dict(bundle.state_dict())
    bundle.train(training)
    module.train(training)
    for batch in (2, 5, 33):
        rows = [t.cuda()[torch.arange(batch, device="cuda") % len(t)] for t in calls[0]]
        mine = [t.clone().requires_grad_() for t in rows]
        theirs = [t.clone().requires_grad_() for t in rows]
        torch.manual_seed(5)
        found = bundle(*mine)
        torch.manual_seed(5)
        expected = module(*theirs)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        found.square().mean().backward()
        expected.square().mean().backward()
        for have, want in zip(mine, theirs, strict=True):
            torch.testing.assert_close(have.grad, want.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("name", OWN)
def test_a_module_of_ones_own_trains_like_eager(own, name, batch):
    torch.manual_seed(0)
    module, args = getattr(blueprints, name)({})
    module = module.cuda()
    bundle = own.load(name, on_guard_miss="raise", prefer="compiled", device="cuda")
    bundle.load_state_dict(module.state_dict())
    extents = {extent for guard in bundle.tezzeret.manifest.guard_spec for extent in guard.shape[:1]}
    if batch not in extents and all(isinstance(extent, int) for extent in extents):
        pytest.skip("this release of torch binds the batch")
    rows = [t.cuda()[torch.arange(batch, device="cuda") % len(t)] for t in args]
    mine, theirs = fresh(tuple(rows)), fresh(tuple(rows))
    found, expected = bundle(*mine), module(*theirs)
    close = {"rtol": 1e-3, "atol": 1e-3}
    torch.testing.assert_close(tensors(found), tensors(expected), **close)
    loss(found).backward()
    loss(expected).backward()
    for have, want in zip((*mine, *bundle.parameters()), (*theirs, *module.parameters()), strict=True):
        torch.testing.assert_close(have.grad, want.grad, **close)


def test_the_proof_says_who_serves(cuda_store):
    serving = load(cuda_store, "BP004").tezzeret.manifest.serving
    assert all(step.compiled_ms > 0 and step.eager_ms > 0 for item in serving for step in item.times)
    assert serving


def test_the_manifest_names_the_capability(cuda_store):
    target = load(cuda_store, "BP023").tezzeret.manifest.target
    assert target.device == "cuda"
    assert target.capability == ".".join(map(str, torch.cuda.get_device_capability()))


def test_a_cuda_bundle_trains_in_a_process_without_compiler(cuda_store, consumer):
    done = consumer(CONSUMER, str(tezzeret_cli.find(cuda_store, "BP023", device="cuda")))
    assert done.returncode == 0, done.stderr


def test_a_tensor_on_the_cpu_is_a_guard_miss(cuda_store):
    with pytest.raises(GuardMissError, match="is on cpu instead of cuda"):
        load(cuda_store, "BP023")(torch.randn(8, 12, 64))


def test_a_module_moved_to_the_cpu_runs_eager_there(cuda_store):
    path = tezzeret_cli.find(cuda_store, "BP023", device="cuda")
    bundle = tezzeret_cli.load(path, trust=UNVERIFIED).cpu()
    with pytest.warns(GuardMissWarning, match="is on cpu"):
        assert bundle(torch.randn(8, 12, 64)).device.type == "cpu"


def test_a_side_stream_gives_the_same_result(cuda_store):
    bundle = load(cuda_store, "BP023").eval()
    x = torch.randn(8, 12, 64, device="cuda")
    expected = bundle(x)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = bundle(x)
    torch.cuda.current_stream().wait_stream(stream)
    torch.testing.assert_close(found, expected)


def test_a_written_buffer_that_would_be_copied_first_is_a_guard_miss(cuda_store):
    bundle = load(cuda_store, "BP006").train()
    x = torch.randn(8, 64, device="cuda")
    bundle(x)
    name, buffer = next((n, b) for n, b in bundle.named_buffers() if n.endswith("running_mean"))
    odd = torch.zeros(len(buffer) + 1, device="cuda")[1:]
    bundle.get_submodule(name.rpartition(".")[0]).running_mean = odd
    with pytest.raises(GuardMissError, match="running_mean is written, and does not begin"):
        bundle(x)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_one_bundle_serves_several_devices_in_one_process(cuda_store):
    first, second = load(cuda_store, "BP023", device="cuda:0"), load(cuda_store, "BP023", device="cuda:1")
    x = torch.randn(8, 12, 64)
    found = [bundle(x.to(bundle.tezzeret.program.device)) for bundle in (first, second)]
    assert [out.device.index for out in found] == [0, 1]
    torch.testing.assert_close(found[0].cpu(), found[1].cpu(), rtol=1e-4, atol=1e-4)
    with pytest.raises(GuardMissError, match="is on cuda:0 instead of cuda:1"):
        second(x.to("cuda:0"))
