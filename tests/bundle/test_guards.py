"""Outside its guards a bundle runs eager, counts it and warns once; it is never silently wrong."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch.nn.utils import parametrize

from tezzeret_cli.errors import EagerUnavailableError, GuardMissError
from tezzeret_cli.runtime import GuardMissWarning


def test_float64_into_a_float32_bundle_is_never_silently_accepted(forged, eager):
    module, _ = eager("mlp")
    x = torch.randn(4, 16, dtype=torch.float64)
    with pytest.raises(GuardMissError, match=r"is torch\.float64 instead of torch\.float32"):
        forged.load("mlp", on_guard_miss="raise")(x)
    bundle = forged.load("mlp").double()
    with pytest.warns(GuardMissWarning, match="float64"):
        found = bundle(x)
    torch.testing.assert_close(found, module.double()(x))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.randn(4, 15), "has shape"),
        (torch.randn(4, 4, 16), "has shape"),
        (torch.randn(1025, 16), "has shape"),
        (torch.randn(0, 16), "has shape"),
        (torch.randn(16, 4).t(), "has strides"),
        (torch.randn(1, 16).expand(4, 16), "has strides"),
        (torch.randn(4, 16).to_sparse(), "not a plain tensor"),
        (torch.randn(4, 16, dtype=torch.complex64).conj().imag, "not a plain tensor"),
        (torch.randn(4, 16).bfloat16(), "is torch.bfloat16"),
        (torch.empty(4, 16, device="meta"), "is on meta"),
        ("text", "not a plain tensor"),
        (torch.nn.utils.rnn.pack_sequence([torch.randn(4, 16)]), "not a plain tensor"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_another_kind_of_input_is_a_guard_miss(forged, x, message):
    with pytest.raises(GuardMissError, match=message):
        forged.load("mlp", on_guard_miss="raise")(x)


class Tagged(torch.Tensor):
    pass


def test_a_tensor_subclass_is_a_guard_miss(forged):
    bundle = forged.load("mlp", on_guard_miss="raise")
    bundle(torch.randn(4, 16))
    with pytest.raises(GuardMissError, match="not a plain tensor"):
        bundle(torch.randn(4, 16).as_subclass(Tagged))


def test_autocast_gives_what_eager_gives(forged, eager):
    module, (x,) = eager("mlp")
    bundle = forged.load("mlp")
    bundle(x)
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.warns(GuardMissWarning, match="autocast"):
        found = bundle(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = module(x)
    assert found.dtype is torch.bfloat16
    torch.testing.assert_close(found, expected)


def test_vmap_and_grad_transforms_give_what_eager_gives(forged, eager):
    module, _ = eager("mlp")
    bundle = forged.load("mlp")
    x = torch.randn(3, 4, 16)
    bundle(x[0])
    with pytest.warns(GuardMissWarning, match=r"torch\.func"):
        found = torch.func.vmap(bundle)(x)
    torch.testing.assert_close(found, torch.func.vmap(module)(x))
    gradient = torch.func.grad(lambda v: bundle(v).sum())(x[0])
    torch.testing.assert_close(gradient, torch.func.grad(lambda v: module(v).sum())(x[0]))


def test_a_batch_of_gradients_is_a_clear_error_in_the_backward_and_eager_inside_torch_func(forged, eager):
    bundle, x = forged.load("mlp"), torch.randn(4, 16, requires_grad=True)
    out = bundle(x)
    many = torch.randn(3, *out.shape)
    with pytest.raises(GuardMissError, match=r"takes one gradient at a time.*loop over them"):
        torch.autograd.grad(out, x, many, is_grads_batched=True, retain_graph=True)
    with pytest.raises(GuardMissError, match="takes one gradient at a time"):
        torch.func.vmap(lambda grad: torch.autograd.grad(out, x, grad, retain_graph=True)[0])(many)
    one_by_one = [torch.autograd.grad(out, x, grad, retain_graph=True)[0] for grad in many]
    module, _ = eager("mlp")
    expected = torch.autograd.grad(module(x), x, many, is_grads_batched=True)[0]
    torch.testing.assert_close(torch.stack(one_by_one), expected)
    with pytest.warns(GuardMissWarning, match=r"a torch\.func transform is active"):
        jacobian = torch.func.jacrev(bundle)(x.detach())
    torch.testing.assert_close(jacobian, torch.func.jacrev(module)(x.detach()))


def test_deterministic_algorithms_are_a_guard_miss(forged):
    bundle = forged.load("mlp", on_guard_miss="raise")
    bundle(torch.randn(4, 16))
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(GuardMissError, match="deterministic"):
            bundle(torch.randn(4, 16))
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_dispatch_mode_sees_eagers_operations(forged):
    from torch.utils.flop_counter import FlopCounterMode

    bundle = forged.load("mlp")
    bundle(torch.randn(4, 16))
    with pytest.warns(GuardMissWarning), FlopCounterMode(display=False) as counter:
        bundle(torch.randn(4, 16))
    assert counter.get_total_flops() == 2 * 2 * 4 * 16 * 16


def test_a_default_device_is_a_guard_miss(forged):
    bundle = forged.load("mlp", on_guard_miss="raise")
    x = torch.randn(4, 16)
    bundle(x)
    with torch.device("cpu"), pytest.raises(GuardMissError, match="function mode"):
        bundle(x)


def test_forward_mode_differentiation_gives_what_eager_gives(forged, eager):
    module, (x,) = eager("mlp")
    bundle = forged.load("mlp")
    bundle(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuardMissWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        _, found = torch.func.jvp(bundle, (x,), (torch.ones_like(x),))
    _, expected = torch.func.jvp(module, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(found, expected)


def test_a_written_buffer_that_overlaps_an_input_is_a_guard_miss(forged):
    bundle = forged.load("counter", on_guard_miss="raise")
    x = torch.randn(4, 8)
    bundle(x)
    bundle.total = x[1]
    with pytest.raises(GuardMissError, match="shares memory"):
        bundle(x)


def test_a_replaced_parameter_is_used_and_a_foreign_one_is_a_guard_miss(forged, eager):
    module, (x,) = eager("mlp")
    bundle = forged.load("mlp", on_guard_miss="raise")
    bundle(x)
    weight = torch.nn.Parameter(torch.randn(16, 16))
    bundle.get_submodule("0").weight = weight
    module[0].weight = weight
    torch.testing.assert_close(bundle(x), module(x))
    bundle.get_submodule("0").weight = torch.nn.Parameter(torch.randn(16, 16).double())
    with pytest.raises(GuardMissError, match=r"0\.weight is torch\.float64"):
        bundle(x)


def test_a_parameter_that_was_frozen_when_compiled_may_not_learn(forged):
    bundle = forged.load("tied_embedding", on_guard_miss="raise")
    tokens = torch.randint(32, (4, 5))
    bundle(tokens)
    bundle.frozen.requires_grad_(True)
    with pytest.raises(GuardMissError, match="frozen requires a gradient"):
        bundle(tokens)


def test_a_parametrised_weight_is_a_guard_miss(forged):
    bundle = forged.load("mlp", on_guard_miss="raise")
    bundle(torch.randn(4, 16))
    parametrize.register_parametrization(bundle.get_submodule("0"), "weight", torch.nn.Identity())
    with pytest.raises(GuardMissError, match="was changed"):
        bundle(torch.randn(4, 16))


def test_a_hook_inside_is_a_guard_miss_and_one_outside_is_not(forged):
    bundle = forged.load("mlp", on_guard_miss="raise")
    seen = []
    bundle.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    bundle(torch.randn(4, 16))
    assert seen == [torch.Size([4, 16])]
    bundle.get_submodule("0").register_forward_hook(lambda module, args, out: None)
    with pytest.raises(GuardMissError, match="hook"):
        bundle(torch.randn(4, 16))


def test_a_submodule_in_another_mode_is_a_guard_miss(forged):
    bundle = forged.load("encoder", on_guard_miss="raise")
    bundle.get_submodule("dropout").eval()
    with pytest.raises(GuardMissError, match="mode"):
        bundle(torch.randn(8, 16))


def test_another_constant_is_a_guard_miss(forged, eager):
    module, (pair, _, _) = eager("options")
    with pytest.raises(GuardMissError, match=r"3\.0 instead of 2\.0"):
        forged.load("options", on_guard_miss="raise")(pair, 3.0, True)
    with pytest.warns(GuardMissWarning):
        found = forged.load("options")(pair, 3.0, True)
    torch.testing.assert_close(found, module(pair, 3.0, True))


def test_a_guard_miss_is_counted_and_warned_of_once(forged, eager):
    module, _ = eager("mlp")
    bundle = forged.load("mlp")
    x = torch.randn(4, 16).t().contiguous().t()
    with pytest.warns(GuardMissWarning, match="strides") as seen:
        found = [bundle(x) for _ in range(3)]
    assert len(seen) == 1
    assert (bundle.tezzeret.guard_misses, bundle.tezzeret.eager_calls) == (3, 3)
    assert repr(bundle.tezzeret) == "<T_mlp: 3 guard misses, 3 eager calls>"
    torch.testing.assert_close(found[0], module(x))


def test_the_warning_names_the_line_that_made_the_call_however_deep_the_bundle_is(forged):
    x = torch.randn(4, 16).t().contiguous().t()
    for module in (forged.load("mlp"), torch.nn.Sequential(torch.nn.Identity(), forged.load("mlp"))):
        with pytest.warns(GuardMissWarning) as seen:
            module(x)
        assert [Path(warning.filename).name for warning in seen] == ["test_guards.py"]


def test_eager_trains_the_bundles_own_parameters(forged):
    bundle = forged.load("encoder")
    x = torch.randn(8, 16).t().contiguous().t()
    with pytest.warns(GuardMissWarning):
        bundle(x)["rest"][0].square().sum().backward()
    assert bundle.get_parameter("linear.weight").grad is not None
    assert int(bundle.get_buffer("norm.num_batches_tracked")) == 1


def test_a_factory_that_is_not_allowed_never_runs(forged):
    with pytest.raises(EagerUnavailableError, match=r"has shape .* is not allowed to run; name it in"):
        forged.load("mlp", allow_factories=[])(torch.randn(4, 15))


@pytest.mark.parametrize("name", ["data_dependent", "overwriting", "asks_for_gradients", "sparse"])
def test_a_fallback_bundle_runs_eager_and_says_why(forged, eager, name):
    module, args = eager(name)
    bundle = forged.load(name)
    assert bundle.tezzeret.manifest.eager_fallback
    mine, theirs = args[0].clone(), args[0].clone()
    with pytest.warns(GuardMissWarning, match="eager fallback"):
        found = bundle(mine)
    torch.testing.assert_close(found, module(theirs))
    assert bundle.tezzeret.eager_calls == 1


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(3, 3, dtype=torch.bool), "mask has shape"),
        (torch.ones(3, 8), "mask is torch.float32"),
        (torch.ones(2, 8, dtype=torch.bool), "another batch size"),
    ],
)
def test_an_input_that_was_only_looked_at_is_guarded_too(forged, eager, mask, message):
    x = torch.randn(3, 4)
    with pytest.raises(GuardMissError, match=message):
        forged.load("looks_at_mask", on_guard_miss="raise")(x, mask)
    module, _ = eager("looks_at_mask")
    with pytest.warns(GuardMissWarning):
        found = forged.load("looks_at_mask")(x, mask)
    torch.testing.assert_close(found, module(x, mask))


def test_a_returned_size_is_that_of_the_input(forged):
    bundle = forged.load("tells_width")
    assert bundle(torch.randn(3, 4))[1] == 4
    with pytest.warns(GuardMissWarning, match="has shape"):
        assert bundle(torch.randn(3, 9))[1] == 9


def test_eager_is_built_as_the_bundle_was(forged):
    bundle = forged.load("drawn")
    x = torch.randn(4, 8)
    expected = bundle(x)
    torch.manual_seed(1234)
    with pytest.warns(GuardMissWarning, match="strides"):
        found = bundle(x.t().contiguous().t())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "register",
    [
        lambda child: child.register_forward_hook(lambda *args: None),
        lambda child: child.register_forward_pre_hook(lambda *args: None),
        lambda child: child.register_full_backward_hook(lambda *args: None),
        lambda child: child.register_full_backward_pre_hook(lambda *args: None),
        lambda child: torch.nn.utils.parametrizations.weight_norm(child).register_forward_hook(print),
    ],
    ids=["forward", "forward pre", "backward", "backward pre", "weight norm and forward"],
)
def test_a_hook_inside_that_would_not_run_is_an_error_and_not_ignored(forged, register):
    bundle = forged.load("mlp")
    bundle(torch.randn(4, 16))
    register(bundle.get_submodule("0"))
    with pytest.raises(EagerUnavailableError, match="has a hook"):
        bundle(torch.randn(4, 16))


def test_a_hook_for_every_module_runs_on_eagers_modules(forged):
    from torch.nn.modules.module import register_module_forward_hook

    bundle = forged.load("mlp")
    bundle(torch.randn(4, 16))
    seen = []
    handle = register_module_forward_hook(lambda module, *args: seen.append(type(module).__name__))
    try:
        with pytest.warns(GuardMissWarning, match="hook"):
            bundle(torch.randn(4, 16))
    finally:
        handle.remove()
    assert seen == ["Linear", "GELU", "Linear", "Sequential", "BundleModule"]


def test_a_replaced_submodule_is_an_error(forged):
    bundle = forged.load("mlp")
    bundle.add_module("1", torch.nn.Tanh())
    with pytest.raises(EagerUnavailableError, match="'1' was replaced"):
        bundle(torch.randn(4, 16))


def test_tracing_is_a_guard_miss(forged, eager):
    module, (x,) = eager("mlp")
    bundle = forged.load("mlp")
    bundle(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(bundle, (x,), check_trace=False)
    other = torch.randn(8, 16)
    torch.testing.assert_close(traced(other), module(other))
