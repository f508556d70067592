"""Every built-in blueprint builds over its whole bounds, learns, and does what its name says."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tezzeret_cli.blueprints.construct import construct
from tezzeret_cli.blueprints.registry import BUILTIN
from tezzeret_cli.blueprints.resolve import Resolver
from tezzeret_cli.leyline.descriptors import builtin_catalogue
from tezzeret_cli.plan import default_value

CATALOGUE = {descriptor.name: descriptor for descriptor in builtin_catalogue()}
ORDINARY = [name for name, descriptor in CATALOGUE.items() if not descriptor.quarantine_only]
RESOLVER = Resolver()


def build(name: str, **values: float):
    descriptor = CATALOGUE[name]
    parameters = {
        key: values.get(key, default_value(descriptor.blueprint_id, key, bounds))
        for key, bounds in descriptor.allowed_parameters.items()
    }
    torch.manual_seed(0)
    return construct(RESOLVER.resolve(descriptor), parameters)


def corners(name: str) -> list[dict[str, float]]:
    bounds = CATALOGUE[name].allowed_parameters
    return [{}, {k: b.min_value for k, b in bounds.items()}, {k: b.max_value for k, b in bounds.items()}]


def outputs(value):
    return value if isinstance(value, tuple) else (value,)


def test_the_table_has_every_blueprint_of_the_catalogue():
    assert set(BUILTIN) == set(CATALOGUE)


@pytest.mark.parametrize("name", ORDINARY)
def test_every_parameter_gets_a_finite_gradient_at_all_corners_and_batches(name):
    for values in corners(name):
        module, calls = build(name, **values)
        for call in calls:
            for batch in (1, 3, 8) if BUILTIN[name].batch.min == 1 else (2, 3, 8):
                rows = [t[torch.arange(batch) % len(t)].clone().requires_grad_() for t in call]
                module.zero_grad()
                sum(out.square().sum() for out in outputs(module(*rows))).backward()
                for key, parameter in module.named_parameters():
                    assert parameter.grad is not None, key
                    assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("name", [n for n in ORDINARY if CATALOGUE[n].allowed_parameters])
def test_every_parameter_changes_the_module(name):
    bounds = CATALOGUE[name].allowed_parameters
    for key, bound in bounds.items():
        low, calls = build(name, **{key: bound.min_value})
        high, other = build(name, **{key: bound.max_value})
        shapes = [tuple(p.shape) for p in low.parameters()], [tuple(p.shape) for p in high.parameters()]
        if shapes[0] != shapes[1] or calls[0][0].shape != other[0][0].shape:
            continue
        torch.manual_seed(1)
        first = outputs(low(*calls[0]))[0].detach()
        state = [buffer.clone() for buffer in low.buffers()]
        torch.manual_seed(1)
        second = outputs(high(*calls[0]))[0].detach()
        after = list(high.buffers())
        same_buffers = len(state) == len(after) and all(
            a.shape == b.shape and torch.equal(a, b) for a, b in zip(state, after, strict=True)
        )
        assert first.shape != second.shape or not torch.equal(first, second) or not same_buffers, key


def test_dropout_drops_its_share_in_training_only():
    module, _ = build("dropout_light", dropout=0.4)
    x = torch.ones(200, 200)
    assert abs(float((module(x) == 0).float().mean()) - 0.4) < 0.02
    torch.testing.assert_close(module.eval()(x), x)


def test_batch_norm_keeps_momentum_of_the_old_value():
    module, _ = build("batch_norm_1d", momentum=0.99)
    module(torch.full((4, 64), 5.0) + torch.randn(4, 64))
    torch.testing.assert_close(module.running_mean, torch.full((64,), 0.05), atol=0.02, rtol=0)


def test_highway_carries_its_input_when_the_gate_is_shut():
    module, ((x,),) = build("highway_gate", gate_bias=-3)
    nn.init.zeros_(module.gate.weight)
    nn.init.constant_(module.gate.bias, -40)
    torch.testing.assert_close(module(x), x)


def test_attention_does_not_care_for_the_order_of_what_it_attends_to():
    module, ((x, context),) = build("cross_attention")
    shuffled = context[:, torch.randperm(context.shape[1])]
    torch.testing.assert_close(module(x, context), module(x, shuffled), rtol=1e-4, atol=1e-5)


def test_self_attention_moves_with_its_tokens():
    module, ((x,), _) = build("multi_head_attention_4")
    order = torch.randperm(x.shape[1])
    torch.testing.assert_close(module(x)[:, order], module(x[:, order]), rtol=1e-4, atol=1e-5)


def test_attention_with_zero_scores_is_the_mean():
    module, ((x,),) = build("attention_single_head")
    with torch.no_grad():
        module.qkv.weight[:64].zero_()
        module.qkv.bias[:64].zero_()
    mean = module.qkv(x)[..., 64:].mean(1, keepdim=True)
    torch.testing.assert_close(module(x), mean.expand_as(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dilation", [1, 3, 5])
def test_temporal_convolution_never_looks_ahead(dilation):
    module, ((x,),) = build("temporal_conv", dilation=dilation)
    changed = x.clone()
    changed[:, :, 30:] += 1
    torch.testing.assert_close(module(x)[:, :, :30], module(changed)[:, :, :30])
    assert not torch.equal(module(x)[:, :, 30:], module(changed)[:, :, 30:])


def test_dilated_taps_lie_dilation_pixels_apart():
    module, _ = build("dilated_conv", dilation=4)
    impulse = torch.zeros(1, 16, 20, 20)
    impulse[:, :, 10, 10] = 1
    with torch.no_grad():
        module[0].bias.zero_()
        module[0].weight.fill_(1)
    touched = module(impulse)[0, 0].nonzero().tolist()
    assert touched == [[row, column] for row in (6, 10, 14) for column in (6, 10, 14)]


def test_deformable_convolution_without_offsets_is_a_convolution():
    module, ((x,),) = build("deformable_conv")
    nn.init.zeros_(module.offsets.weight)
    kernel = module.weight.view(24, 24, 3, 3)
    torch.testing.assert_close(module(x), F.conv2d(x, kernel, padding=1), rtol=1e-4, atol=1e-5)


def test_deformable_convolution_with_whole_offsets_shifts_the_image():
    module, ((x,),) = build("deformable_conv", offset_groups=1)
    nn.init.zeros_(module.offsets.weight)
    module.taps[:, 1] += 2
    shifted = F.pad(x, (0, 2))[:, :, :, 2:]
    kernel = module.weight.view(24, 24, 3, 3)
    inner = slice(0, 7)
    expected = F.conv2d(shifted, kernel, padding=1)[..., inner]
    torch.testing.assert_close(module(x)[..., 1:7], expected[..., 1:7], rtol=1e-4, atol=1e-5)


def test_dynamic_convolution_with_one_certain_expert_is_its_convolution():
    module, ((x,),) = build("dynamic_conv", experts=4)
    nn.init.zeros_(module.router.weight)
    with torch.no_grad():
        module.router.bias.copy_(torch.tensor([0.0, 60.0, 0.0, 0.0]))
    kernel = module.kernels[1].view(16, 16, 3, 3)
    torch.testing.assert_close(module(x), F.conv2d(x, kernel, padding=1), rtol=1e-4, atol=1e-4)


def test_graph_attention_hears_neighbours_within_its_hops_only():
    module, ((nodes, ring),) = build("graph_attention", hops=2)
    changed = nodes.clone()
    changed[:, 0] += 10
    moved = (module(nodes, ring) - module(changed, ring)).abs().amax((0, 2)) > 1e-5
    assert moved.nonzero().flatten().tolist() == [0, 1, 2, 14, 15]


def test_non_local_attention_stays_in_its_window():
    module, ((x,),) = build("non_local_block", window=5)
    changed = x.clone()
    changed[:, :, 0, 0] += 10
    moved = (module(x) - module(changed)).abs().amax((0, 1)) > 1e-6
    assert moved[:5, :5].all()
    assert not moved[5:, :].any()
    assert not moved[:, 5:].any()


def test_experts_with_room_for_all_equal_the_dense_mixture():
    module, ((x,),) = build("mixture_of_experts_4", experts=4, capacity=2)
    module.capacity = 4.0
    weights = torch.softmax(module.router(x), -1)
    best, chosen = weights.topk(2, -1)
    best = best / best.sum(-1, keepdim=True)
    every = torch.stack([F.gelu(x @ module.expand[e]) @ module.project[e] for e in range(4)], dim=2)
    picked = every.gather(2, chosen[..., None].expand(-1, -1, -1, x.shape[-1]))
    torch.testing.assert_close(module(x), x + (picked * best[..., None]).sum(2), rtol=1e-4, atol=1e-5)


def test_a_full_expert_lets_tokens_pass_by_unchanged():
    module, ((x,),) = build("mixture_of_experts_4", experts=8, capacity=1)
    nn.init.zeros_(module.router.weight)
    with torch.no_grad():
        module.router.weight[:2] = 1.0
    same = torch.ones_like(x)
    slots = module.slots(x.shape[1])
    changed = (module(same) != same).any(-1).sum(1)
    assert changed.tolist() == [slots] * len(x)


def test_neural_ode_converges_at_fourth_order():
    module, ((x,),) = build("neural_ode_block")
    module, x = module.double(), x.double()

    def at(steps):
        module.steps = steps
        return module(x)

    exact = at(256)
    coarse, fine = (float((at(steps) - exact).detach().abs().max()) for steps in (2, 4))
    assert coarse / fine > 12


def test_a_cold_search_picks_its_best_candidate():
    module, ((x,),) = build("differentiable_nas", temperature=0.5)
    with torch.no_grad():
        module.scores.copy_(torch.tensor([0.0, 0.0, 50.0, 0.0, 0.0]))
    torch.testing.assert_close(module(x), module.candidates(x)[2])


def test_every_inner_step_lowers_the_inner_loss():
    module, ((x,),) = build("meta_learning_layer", adapt_steps=5)
    losses = []
    for steps in range(6):
        module.adapt_steps = steps
        losses.append(module.inner_loss(x, module.adapt(x)))
    for before, after in itertools.pairwise(losses):
        assert (after < before).all()


def test_memory_read_depends_on_what_was_written():
    module, ((x,),) = build("memory_augmented")
    other = x.clone()
    other[:, -1] += 5
    assert not torch.allclose(module(x)[:, 0], module(other)[:, 0])


def test_recursion_shares_one_cell():
    shallow, _ = build("recursive_processing", depth=2)
    deep, _ = build("recursive_processing", depth=6)
    assert [p.shape for p in shallow.parameters()] == [p.shape for p in deep.parameters()]


def test_a_pyramid_has_its_levels_at_halved_resolutions():
    module, ((x,),) = build("feature_pyramid", levels=4)
    assert [tuple(level.shape[2:]) for level in module(x)] == [(32, 32), (16, 16), (8, 8), (4, 4)]


def test_squeeze_excitation_scales_whole_channels():
    module, ((x,),) = build("squeeze_excitation")
    ratio = module(x) / x
    torch.testing.assert_close(ratio, ratio.mean((2, 3), keepdim=True).expand_as(ratio), rtol=1e-3, atol=1e-4)


def test_spatial_attention_weights_all_channels_of_a_place_alike():
    module, ((x,),) = build("spatial_attention")
    ratio = module(x) / x
    torch.testing.assert_close(ratio, ratio.mean(1, keepdim=True).expand_as(ratio), rtol=1e-3, atol=1e-4)


def test_gradients_explode_and_vanish():
    module, ((x,),) = build("exploding_gradient", scale=20)
    module(x.requires_grad_()).sum().backward()
    assert not module.weight.grad.isfinite().all()
    module, ((x,),) = build("vanishing_gradient", decay=0.1)
    module(x.requires_grad_()).sum().backward()
    assert float(x.grad.abs().max()) < 1e-12


@pytest.mark.parametrize("frequency", [0.01, 0.05, 0.1])
def test_nan_injection_hits_its_share(frequency):
    module, _ = build("nan_injection", frequency=frequency)
    share = float(module(torch.randn(100, 64)).isnan().float().mean())
    assert abs(share - frequency) < 0.01


def test_a_leak_grows_with_every_call():
    module, ((x,),) = build("memory_leak", growth_rate=2)
    for _ in range(3):
        module(x)
    assert sum(t.numel() * t.element_size() for t in module.kept) == 3 * 2 * (1 << 20)


def test_racing_threads_lose_updates_or_none_but_finish():
    module, ((x,),) = build("race_condition", window_ns=1000)
    nn.init.zeros_(module.weight)
    assert 1 <= module(x).detach().mean().item() <= module.THREADS * module.ROUNDS


def test_adversarial_noise_moves_its_input_by_epsilon():
    module, ((x,),) = build("adversarial_noise", epsilon=0.5)
    with torch.no_grad():
        module.map.weight.copy_(torch.eye(64))
        module.map.bias.zero_()
    torch.testing.assert_close((module(x) - x).abs(), torch.full_like(x, 0.5))


@pytest.mark.parametrize("name", ["infinite_loop", "deadlock_pattern"])
def test_a_stressor_that_never_returns_does_not(name):
    import subprocess
    import sys

    code = (
        "from tests.unit.blueprints.test_builders import build\n"
        f"module, calls = build({name!r})\nprint('built', flush=True)\nmodule(*calls[0])\nprint('returned')"
    )
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert running.stdout.readline() == "built\n"
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(timeout=2)
    running.kill()
    assert running.communicate()[0] == ""
