"""Where the proof measured that eager is faster, eager serves training steps; the compiled code stays
there."""

from __future__ import annotations

import shutil
import warnings

import pytest
import torch

import tezzeret_cli
from tests.support.signing import sign_as
from tezzeret_cli.bundle.read import read_manifest
from tezzeret_cli.model.job import BatchRange
from tezzeret_cli.model.manifest import Serving, StepTimes
from tezzeret_cli.runtime.module import CALLS_BEFORE_EAGER
from tezzeret_cli.trust import trusted_keys

LARGE = 1024
"""At this batch of relu the compiled step, which writes a mask, takes five times as long as eager's."""


@pytest.fixture
def load(tezzeret):
    def loaded(path, **options):
        return tezzeret_cli.load(path, trust=trusted_keys(tezzeret.trusted), **options)

    return loaded


def step(module, x):
    """The output of a call and the gradient of its input."""
    mine = x.detach().clone().requires_grad_()
    out = module(mine)
    out.square().sum().backward()
    return out.detach(), mine.grad


def forced(tezzeret, source, folder, eager):
    """A copy of a bundle whose manifest says that eager serves these batches of every variant, with steps so
    quick that it does so whatever the number of threads."""
    shutil.copytree(source, folder)
    manifest, _ = read_manifest(folder)
    times = tuple(StepTimes(span.max, 0.02, 0.01, 1.5, 20) for span in eager)
    serving = tuple(Serving(number, times, tuple(eager)) for number in range(len(manifest.variants)))
    sign_as(tezzeret, folder, serving=serving)
    return folder


def test_a_bundle_says_what_was_measured_and_which_batches_eager_serves(relu):
    path, report = relu
    manifest, _ = read_manifest(path)
    assert report["status"] == "compiled"
    assert not manifest.eager_fallback
    (serving,) = manifest.serving
    batches = [times.batch for times in serving.times]
    assert batches == sorted(batches)
    assert {1, 8} < set(batches)
    for times in serving.times:
        assert 0 < times.compiled_ms < 1000
        assert 0 < times.eager_ms < 1000
        assert times.samples >= 6
    assert any(span.min <= LARGE <= span.max for span in serving.eager)
    assert any("eager is faster at batch" in note for note in report["notes"])


def test_such_calls_are_served_eager_once_there_were_many_and_counted_apart(relu, load):
    bundle = load(relu[0], on_guard_miss="raise")
    x = torch.randn(LARGE, 64)
    expected = step(torch.nn.ReLU(), x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(CALLS_BEFORE_EAGER):
            torch.testing.assert_close(step(bundle, x), expected)
        assert bundle.tezzeret.preferred_eager_calls == 0
        for _ in range(3):
            torch.testing.assert_close(step(bundle, x), expected)
    told = bundle.tezzeret
    assert (told.preferred_eager_calls, told.guard_misses, told.eager_calls) == (3, 0, 0)
    assert told.eager_unavailable is None


def test_a_call_that_needs_no_gradient_is_served_compiled(relu, load):
    bundle = load(relu[0])
    with torch.no_grad():
        for _ in range(CALLS_BEFORE_EAGER + 2):
            bundle(torch.randn(LARGE, 64))
    assert bundle.tezzeret.preferred_eager_calls == 0


def test_the_compiled_code_serves_every_call_where_it_is_preferred(relu, load):
    bundle = load(relu[0], prefer="compiled")
    x = torch.randn(LARGE, 64)
    for _ in range(CALLS_BEFORE_EAGER + 2):
        found = step(bundle, x)
    torch.testing.assert_close(found, step(torch.nn.ReLU(), x))
    assert bundle.tezzeret.preferred_eager_calls == 0


def test_eager_serves_every_call_inside_the_guards_where_it_is_preferred(forged, eager):
    bundle = forged.load("encoder", prefer="eager")
    module, (x,) = eager("encoder")
    for training in (True, False):
        bundle.train(training)
        module.train(training)
        torch.manual_seed(1)
        found = bundle(x)
        torch.manual_seed(1)
        torch.testing.assert_close(found["hidden"], module(x)["hidden"])
    assert int(bundle.get_buffer("norm.num_batches_tracked")) == 1
    torch.testing.assert_close(bundle.state_dict(), module.state_dict())
    assert (bundle.tezzeret.preferred_eager_calls, bundle.tezzeret.guard_misses) == (2, 0)


def test_what_does_more_in_train_than_set_the_flag_does_so_in_eager(forged, eager):
    bundle = forged.load("switches", prefer="eager")
    module, (x,) = eager("switches")
    for training in (False, True, False):
        torch.testing.assert_close(bundle.train(training)(x), module.train(training)(x))
    assert bundle.tezzeret.preferred_eager_calls == 3


def test_the_loader_does_what_the_manifest_says_for_each_batch(forged, tezzeret, tmp_path):
    folder = forced(tezzeret, forged.path("mlp"), tmp_path / "forced", (BatchRange(3, 5), BatchRange(9, 9)))
    options = {"allow_factories": ["tests.bundle.*"], "trust": trusted_keys(tezzeret.trusted)}
    bundle = tezzeret_cli.load(folder, on_guard_miss="raise", **options)
    for _ in range(CALLS_BEFORE_EAGER):
        bundle(torch.randn(3, 16))
    for batch, served in ((2, 0), (3, 1), (4, 2), (5, 3), (6, 3), (9, 4), (10, 4)):
        bundle(torch.randn(batch, 16))
        assert bundle.tezzeret.preferred_eager_calls == served, batch


def test_where_the_factory_may_not_run_the_compiled_code_serves(forged, tezzeret, tmp_path):
    folder = forced(tezzeret, forged.path("mlp"), tmp_path / "forced", (BatchRange(1, 1024),))
    bundle = tezzeret_cli.load(folder, on_guard_miss="raise", trust=trusted_keys(tezzeret.trusted))
    for _ in range(CALLS_BEFORE_EAGER + 2):
        step(bundle, torch.randn(4, 16))
    assert bundle.tezzeret.preferred_eager_calls == 0
    assert "is not allowed to run" in bundle.tezzeret.eager_unavailable


def test_training_goes_on_where_it_was_when_eager_takes_over(forged, tezzeret, tmp_path, eager):
    folder = forced(tezzeret, forged.path("mlp"), tmp_path / "forced", (BatchRange(1, 1024),))
    options = {"allow_factories": ["tests.bundle.*"], "trust": trusted_keys(tezzeret.trusted)}
    bundle = tezzeret_cli.load(folder, **options)
    module, _ = eager("mlp")
    x = torch.randn(8, 16)
    for trained in (bundle, module):
        optimizer = torch.optim.SGD(trained.parameters(), lr=0.01)
        for _ in range(CALLS_BEFORE_EAGER + 20):
            optimizer.zero_grad()
            trained(x).square().mean().backward()
            optimizer.step()
    assert bundle.tezzeret.preferred_eager_calls == 20
    torch.testing.assert_close(bundle.state_dict(), module.state_dict(), rtol=1e-4, atol=1e-5)


def test_somebodys_own_modules_are_compared_with_eager_too(forged):
    for name in ("mlp", "encoder", "tied_embedding", "options"):
        manifest, _ = read_manifest(forged.path(name))
        assert {serving.variant for serving in manifest.serving} <= set(range(len(manifest.variants)))
        assert manifest.serving, manifest.notes


def test_what_takes_no_gradient_is_not_compared(forged):
    manifest, _ = read_manifest(forged.path("ranks"))
    assert not manifest.eager_fallback
    assert manifest.serving == ()
