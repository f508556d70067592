"""A loaded bundle trains like the eager module it was made from."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.bundle import blueprints
from tests.support.steps import fresh, loss, shape_of, tensors

COMPILED = [
    *("mlp", "encoder", "views", "tied_embedding", "counter", "options"),
    *("saves_view", "looks_at_mask", "tells_width", "drawn", "switches", "constant", "convolved"),
    *("detached", "cancelling", "rotated", "filtered", "bag", "recurrent", "squeezed"),
]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", COMPILED)
def test_outputs_gradients_and_state_equal_eagers(forged, eager, name, training):
    module, args = eager(name)
    bundle = forged.load(name, on_guard_miss="raise")
    module.train(training)
    bundle.train(training)
    mine, theirs = fresh(args), fresh(args)
    torch.manual_seed(7)
    found = bundle(*mine)
    torch.manual_seed(7)
    expected = module(*theirs)
    torch.testing.assert_close(tensors(found), tensors(expected))
    assert shape_of(found) == shape_of(expected)
    loss(found).backward()
    loss(expected).backward()
    for have, want in zip(tensors(mine), tensors(theirs), strict=True):
        torch.testing.assert_close(have.grad, want.grad)
    gradients = {key: p.grad for key, p in bundle.named_parameters()}
    rounding = {"rtol": 1e-3, "atol": 1e-3} if name == "cancelling" else {}
    expected_gradients = {key: p.grad for key, p in module.named_parameters()}
    torch.testing.assert_close(gradients, expected_gradients, **rounding)
    torch.testing.assert_close(dict(bundle.state_dict()), dict(module.state_dict()))


@pytest.mark.parametrize("name", COMPILED)
def test_parameters_buffers_and_submodules_have_eagers_names_and_values(forged, eager, name):
    module, _ = eager(name)
    bundle = forged.load(name)
    assert [key for key, _ in bundle.named_parameters()] == [key for key, _ in module.named_parameters()]
    assert [key for key, _ in bundle.named_buffers()] == [key for key, _ in module.named_buffers()]
    assert [key for key, _ in bundle.named_modules()] == [key for key, _ in module.named_modules()]
    torch.testing.assert_close(dict(bundle.state_dict()), dict(module.state_dict()), rtol=0, atol=0)
    assert {k: p.requires_grad for k, p in bundle.named_parameters()} == {
        k: p.requires_grad for k, p in module.named_parameters()
    }


@pytest.mark.parametrize("batch", [1, 2, 17, 64, 333])
def test_one_pair_of_libraries_serves_every_batch_in_its_range(forged, eager, batch):
    module, _ = eager("mlp")
    bundle = forged.load("mlp", on_guard_miss="raise")
    x = torch.randn(batch, 16)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    loss(bundle(mine)).backward()
    loss(module(theirs)).backward()
    torch.testing.assert_close(mine.grad, theirs.grad)
    torch.testing.assert_close(bundle.get_parameter("0.weight").grad, module[0].weight.grad)


@pytest.mark.parametrize("batch", [1, 2, 33])
def test_a_batch_of_one_that_eager_leaves_out_is_left_out(forged, eager, batch):
    module, _ = eager("squeezed")
    bundle = forged.load("squeezed", on_guard_miss="raise", prefer="compiled")
    x = torch.randn(batch, 16)
    torch.testing.assert_close(bundle(x), module(x))


def test_an_optimizer_reaches_the_same_weights_as_with_eager(forged, eager):
    module, (x,) = eager("encoder")
    bundle = forged.load("encoder", on_guard_miss="raise")
    target = torch.randn(8, 16)
    for each in (module, bundle):
        torch.manual_seed(3)
        optimizer = torch.optim.SGD(each.parameters(), lr=0.02, momentum=0.9)
        for _ in range(6):
            optimizer.zero_grad()
            out = each(x)
            (nn.functional.mse_loss(out["hidden"], target) + out["rest"][0].square().mean()).backward()
            optimizer.step()
    torch.testing.assert_close(dict(bundle.state_dict()), dict(module.state_dict()), rtol=1e-3, atol=1e-4)


def test_a_deep_copy_trains_by_itself(forged):
    first = forged.load("mlp", on_guard_miss="raise")
    first(torch.randn(4, 16)).sum().backward()
    second = copy.deepcopy(first)
    with torch.no_grad():
        second.get_parameter("0.weight").zero_()
    x = torch.randn(4, 16)
    assert not torch.equal(first(x), second(x))
    assert second.get_parameter("0.weight").grad is not first.get_parameter("0.weight").grad


def test_two_instances_of_one_bundle_share_no_tensor(forged):
    first, second = forged.load("mlp"), forged.load("mlp")
    with torch.no_grad():
        first.get_parameter("0.weight").add_(1)
    assert not torch.equal(first.get_parameter("0.weight"), second.get_parameter("0.weight"))


def test_two_bundles_opened_one_after_the_other_are_not_mixed_up(forged, eager):
    for name in ("mlp", "options", "mlp", "views"):
        module, args = eager(name)
        torch.testing.assert_close(forged.load(name, on_guard_miss="raise")(*args), module(*args))


def test_load_state_dict_takes_an_eager_checkpoint(forged):
    torch.manual_seed(99)
    module, (x,) = blueprints.mlp({})
    bundle = forged.load("mlp", on_guard_miss="raise")
    assert str(bundle.load_state_dict(module.state_dict())) == "<All keys matched successfully>"
    torch.testing.assert_close(bundle(x), module(x))
    bundle.load_state_dict({k: v.clone() for k, v in module.state_dict().items()}, assign=True)
    torch.testing.assert_close(bundle(x), module(x))


def test_a_tied_weight_stays_tied(forged):
    bundle = forged.load("tied_embedding")
    assert bundle.get_parameter("head.weight") is bundle.get_parameter("embed.weight")


def test_a_buffer_that_is_not_persistent_stays_out_of_the_state_dict(forged):
    assert "offset" not in forged.load("tied_embedding").state_dict()


def test_a_returned_input_is_the_callers_own_tensor(forged):
    x = torch.randn(8, 16)
    assert forged.load("encoder")(x)["rest"][1] is x


def test_returned_chunks_alias_one_another_as_eagers_do(forged):
    left, right, flat, _ = forged.load("views")(x := torch.randn(6, 2, 8), torch.arange(6))
    assert left.untyped_storage().data_ptr() == right.untyped_storage().data_ptr()
    assert flat.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


def test_a_frozen_parameter_gets_no_gradient_and_the_rest_does(forged):
    bundle = forged.load("mlp", on_guard_miss="raise")
    bundle.get_parameter("0.weight").requires_grad_(False)
    bundle(torch.randn(4, 16)).sum().backward()
    assert bundle.get_parameter("0.weight").grad is None
    assert bundle.get_parameter("2.weight").grad is not None


def test_backward_twice_over_a_retained_graph_accumulates(forged):
    bundle = forged.load("mlp", on_guard_miss="raise")
    value = bundle(torch.randn(4, 16)).sum()
    value.backward(retain_graph=True)
    once = bundle.get_parameter("0.weight").grad.clone()
    value.backward()
    torch.testing.assert_close(bundle.get_parameter("0.weight").grad, 2 * once)


def test_a_double_backward_raises(forged):
    bundle = forged.load("mlp", on_guard_miss="raise")
    x = torch.randn(4, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(bundle(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        gradient.sum().backward()


def test_a_saved_tensor_changed_in_place_is_noticed(forged):
    bundle = forged.load("mlp", on_guard_miss="raise")
    x = torch.randn(4, 16)
    value = bundle(x.requires_grad_()).sum()
    with torch.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_without_gradients_nothing_is_recorded(forged):
    bundle = forged.load("mlp", on_guard_miss="raise")
    with torch.no_grad():
        assert bundle(torch.randn(4, 16)).grad_fn is None
    with torch.inference_mode():
        assert bundle(torch.randn(4, 16)).is_inference()


def test_keyword_arguments_reach_their_places(forged, eager):
    module, (pair, scale, _) = eager("options")
    bundle = forged.load("options", on_guard_miss="raise")
    torch.testing.assert_close(bundle(pair, residual=True, scale=scale), module(pair, scale))


def test_threads_may_call_one_module_at_once(forged, eager):
    from concurrent.futures import ThreadPoolExecutor

    module, _ = eager("mlp")
    bundle = forged.load("mlp", on_guard_miss="raise")
    inputs = [torch.randn(size, 16) for size in range(1, 41)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(bundle, inputs))
    for have, x in zip(found, inputs, strict=True):
        torch.testing.assert_close(have, module(x))


def test_a_call_without_gradients_saves_nothing_where_that_is_dear(forged, eager):
    """The encoder's dropout and activation leave masks, so its calls without gradients have a library of
    their own; a plain map's do not."""
    bundle = forged.load("encoder", on_guard_miss="raise")
    train = next(variant for variant in bundle.tezzeret.manifest.variants if variant.training)
    assert train.inference is not None
    module, (x,) = eager("encoder")
    for training in (True, False):
        bundle.train(training)
        module.train(training)
        with torch.no_grad():
            torch.manual_seed(7)
            found = bundle(x)
            torch.manual_seed(7)
            expected = module(x)
        torch.testing.assert_close(tensors(found), tensors(expected))
    torch.testing.assert_close(dict(bundle.state_dict()), dict(module.state_dict()))


@pytest.mark.parametrize("use", [lambda y: y.sum(), lambda y: y.square().sum()], ids=["sum", "square"])
def test_a_second_derivative_raises_whatever_the_loss(forged, use):
    bundle = forged.load("mlp", on_guard_miss="raise")
    x = torch.randn(4, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(use(bundle(x)), x, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        (gradient.square().sum() + bundle(x).mean()).backward()


def test_a_graph_of_the_gradient_that_is_not_differentiated_does_no_harm(forged, eager):
    module, (x,) = eager("mlp")
    bundle = forged.load("mlp", on_guard_miss="raise")
    found = torch.autograd.grad(bundle(x).square().sum(), bundle.parameters(), create_graph=True)
    expected = torch.autograd.grad(module(x).square().sum(), module.parameters())
    for have, want in zip(found, expected, strict=True):
        torch.testing.assert_close(have.detach(), want)


def test_an_input_whose_view_was_saved_and_that_is_changed_in_place_is_noticed(forged, eager):
    for block in (eager("saves_view")[0], forged.load("saves_view", on_guard_miss="raise")):
        h = torch.randn(4, 6, 8, requires_grad=True) * 1
        y = block(h)
        h += y
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            h.square().sum().backward()


def test_an_output_whose_memory_was_saved_and_that_is_changed_in_place_is_noticed(forged, eager):
    module, (x,) = eager("saves_output")
    for block in (module, forged.load("saves_output", on_guard_miss="raise")):
        y, z = block(x.clone().requires_grad_())
        with torch.no_grad():
            y += 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.sum().backward()


def test_a_lazily_negated_gradient_is_negated(forged, eager):
    module, (x,) = eager("mlp")
    bundle = forged.load("mlp", on_guard_miss="raise")
    for each in (module, bundle):
        y = each(x)
        y.backward(torch._neg_view(torch.ones_like(y)))
    for have, want in zip(bundle.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(have.grad, want.grad)


def test_a_shallow_copy_has_its_own_mode_and_tensors(forged, eager):
    module, (x,) = eager("encoder")
    first = forged.load("encoder", on_guard_miss="raise")
    first(x)
    second = copy.copy(first)
    second._modules = {name: copy.copy(child) for name, child in first._modules.items()}
    second.eval()
    torch.testing.assert_close(second(x)["hidden"], module.eval()(x)["hidden"])
