"""Calls that go straight to eager, without a look at the guards, see all that happens to the module."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import nn

import tezzeret_cli
from tests.bundle.test_served_eager import forced, step
from tests.bundle.test_training import COMPILED
from tests.support.steps import fresh, loss, tensors
from tezzeret_cli.errors import EagerUnavailableError, GuardMissError
from tezzeret_cli.model.job import BatchRange
from tezzeret_cli.runtime import GuardMissWarning
from tezzeret_cli.runtime.module import CALLS_BEFORE_EAGER
from tezzeret_cli.trust import trusted_keys

EVERY = (BatchRange(1, 1024),)


@pytest.fixture
def straight(forged, tezzeret, tmp_path):
    """``straight(eager)``: the bundle of an mlp whose manifest says that eager serves these batches, after so
    many calls that eager does, and eager's module beside it."""

    def make(eager=EVERY, **options):
        folder = forced(tezzeret, forged.path("mlp"), tmp_path / "forced", eager)
        options |= {"allow_factories": ["tests.bundle.*"], "trust": trusted_keys(tezzeret.trusted)}
        bundle = tezzeret_cli.load(folder, **options)
        for _ in range(CALLS_BEFORE_EAGER + 1):
            bundle(torch.randn(eager[0].min, 16))
        assert bundle.tezzeret.preferred_eager_calls == 1
        return bundle

    return make


def alike(bundle, module, x):
    torch.testing.assert_close(step(bundle, x), step(module, x))
    torch.testing.assert_close(
        {key: p.grad for key, p in bundle.named_parameters()},
        {key: p.grad for key, p in module.named_parameters()},
    )


@pytest.mark.parametrize("name", COMPILED)
def test_outputs_gradients_and_state_equal_eagers(forged, eager, name):
    module, args = eager(name)
    bundle = forged.load(name, prefer="eager")
    for number, training in enumerate((True, True, False, True)):
        module.train(training)
        bundle.train(training)
        mine, theirs = fresh(args), fresh(args)
        torch.manual_seed(number)
        found = bundle(*mine)
        torch.manual_seed(number)
        expected = module(*theirs)
        torch.testing.assert_close(tensors(found), tensors(expected))
        if tensors(expected)[0].requires_grad:
            loss(found).backward()
            loss(expected).backward()
    gradients = {key: p.grad for key, p in bundle.named_parameters()}
    torch.testing.assert_close(gradients, {key: p.grad for key, p in module.named_parameters()})
    torch.testing.assert_close(dict(bundle.state_dict()), dict(module.state_dict()))
    assert (bundle.tezzeret.preferred_eager_calls, bundle.tezzeret.guard_misses) == (4, 0)


def test_a_parameter_that_is_replaced_loaded_or_converted_is_used(straight, eager):
    bundle, (module, (x,)) = straight(), eager("mlp")
    for change in (
        lambda m: setattr(m.get_submodule("0"), "weight", nn.Parameter(torch.full((16, 16), 0.1))),
        lambda m: setattr(m.get_submodule("2"), "bias", None),
        lambda m: m.load_state_dict({key: value + 1 for key, value in m.state_dict().items()}, assign=True),
        lambda m: m.double(),
    ):
        change(bundle)
        change(module)
        alike(bundle, module, x.to(next(module.parameters()).dtype))
    assert (bundle.tezzeret.preferred_eager_calls, bundle.tezzeret.guard_misses) == (5, 0)


def test_a_parameter_that_is_computed_is_used(straight, eager):
    class Doubled(nn.Module):
        def forward(self, weight):
            return 2 * weight

    bundle, (module, (x,)) = straight(), eager("mlp")
    for one in (bundle, module):
        torch.nn.utils.parametrize.register_parametrization(one.get_submodule("0"), "weight", Doubled())
    with pytest.warns(GuardMissWarning, match="was changed"):
        alike(bundle, module, x)
    assert "weight" not in bundle.get_submodule("0")._parameters
    for one in (bundle, module):
        torch.nn.utils.parametrize.remove_parametrizations(one.get_submodule("0"), "weight")
    alike(bundle, module, x)
    assert (bundle.tezzeret.preferred_eager_calls, bundle.tezzeret.guard_misses) == (2, 1)
    assert bundle.tezzeret._eager.serves(bundle)
    assert (
        dict(bundle.tezzeret._eager._module.named_parameters()).keys()
        == dict(module.named_parameters()).keys()
    )


def test_a_hook_inside_is_an_error_and_not_ignored(straight):
    bundle = straight()
    bundle.get_submodule("0").register_forward_hook(lambda *args: None)
    with pytest.raises(EagerUnavailableError, match="has a hook"):
        bundle(torch.randn(4, 16))


def test_a_submodule_that_is_replaced_is_an_error_and_not_ignored(straight):
    bundle = straight()
    bundle.add_module("0", nn.Identity())
    with pytest.raises(EagerUnavailableError, match="was replaced"):
        bundle(torch.randn(4, 16))


def test_a_hook_around_the_module_or_for_every_module_runs_once_for_it(straight):
    bundle, seen = straight(), []
    bundle.register_forward_hook(lambda module, *_: seen.append(module))
    bundle(torch.randn(4, 16))
    assert seen == [bundle]
    seen.clear()
    handle = torch.nn.modules.module.register_module_forward_pre_hook(lambda m, _: seen.append(type(m)))
    try:
        bundle(torch.randn(4, 16))
    finally:
        handle.remove()
    assert seen.count(nn.Sequential) + seen.count(type(bundle)) == 1
    assert seen.count(nn.Linear) == 2


def test_a_submodule_in_another_mode_is_followed(forged, eager):
    module, (x,) = eager("encoder")
    bundle = forged.load("encoder", prefer="eager")
    for one in (bundle, module):
        torch.manual_seed(2)
        one(x)
    for part, training in (("norm", False), ("dropout", False), ("norm", True)):
        for one in (bundle, module):
            one.get_submodule(part).train(training)
        torch.manual_seed(3)
        found = bundle(x)["hidden"]
        torch.manual_seed(3)
        torch.testing.assert_close(found, module(x)["hidden"])
        torch.testing.assert_close(bundle.state_dict(), module.state_dict())


def test_a_call_without_gradients_is_served_compiled(straight):
    bundle = straight()
    with torch.no_grad():
        bundle(torch.randn(4, 16))
    with torch.inference_mode():
        bundle(torch.randn(4, 16))
    assert bundle.tezzeret.preferred_eager_calls == 1


def test_only_the_named_batches_go_there(straight):
    bundle = straight((BatchRange(3, 5), BatchRange(9, 9)))
    served = 1
    for batch in (2, 3, 5, 6, 9, 10, 1024):
        bundle(torch.randn(batch, 16))
        served += batch in (3, 5, 9)
        assert bundle.tezzeret.preferred_eager_calls == served, batch
    for call in ((), (torch.tensor(1.0),), (torch.randn(4, 16), torch.randn(4, 16)), (None,)):
        with pytest.raises((TypeError, RuntimeError)), pytest.warns(GuardMissWarning):
            bundle(*call)
        bundle.tezzeret._warned = False
    assert bundle.tezzeret.preferred_eager_calls == served


def test_what_is_outside_the_guards_is_counted_as_preferred_or_raises(straight):
    bundle = straight()
    bundle(torch.randn(2000, 16))
    bundle(torch.randn(2, 3, 16))
    assert (bundle.tezzeret.preferred_eager_calls, bundle.tezzeret.guard_misses) == (3, 0)


def test_it_raises_where_a_guard_miss_must(straight):
    bundle = straight(on_guard_miss="raise")
    bundle(torch.randn(4, 16))
    with pytest.raises(GuardMissError, match="has shape"):
        bundle(torch.randn(2000, 16))
    assert bundle.tezzeret.preferred_eager_calls == 2


def test_a_copy_starts_afresh_with_tensors_of_its_own(straight, eager):
    bundle, (module, (x,)) = straight(), eager("mlp")
    other = copy.deepcopy(bundle)
    with torch.no_grad():
        for parameter in bundle.parameters():
            parameter.zero_()
    alike(other, module, x)
    assert other.tezzeret.preferred_eager_calls == 0
    assert not bundle(x).any()
    for _ in range(CALLS_BEFORE_EAGER):
        other(x)
    assert other.tezzeret.preferred_eager_calls == 1
    torch.testing.assert_close(other(x), module(x))
    assert not bundle(x).any()


def test_threads_may_call_it_at_once(straight, eager):
    bundle, (module, _) = straight(), eager("mlp")
    wrong = []

    def calls(seed):
        inputs = torch.randn(8, 16, generator=torch.Generator().manual_seed(seed))
        for _ in range(50):
            if not torch.allclose(bundle(inputs), module(inputs), atol=1e-6):
                wrong.append(seed)

    threads = [threading.Thread(target=calls, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_fallback_bundle_goes_there_too(forged, eager):
    module, args = eager("data_dependent")
    bundle = forged.load("data_dependent")
    with pytest.warns(GuardMissWarning, match="eager fallback"):
        bundle(*args)
    for _ in range(3):
        torch.testing.assert_close(tensors(bundle(*args)), tensors(module(*args)))
    assert (bundle.tezzeret.eager_calls, bundle.tezzeret.preferred_eager_calls) == (4, 0)
