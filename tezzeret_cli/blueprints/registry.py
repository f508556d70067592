"""Which factory builds which blueprint of the built-in catalogue. Torch-free: names only."""

from __future__ import annotations

import msgspec

from tezzeret_cli.model.job import BatchRange

_PACKAGE = "tezzeret_cli.blueprints"

_FAMILIES: dict[str, tuple[str, ...]] = {
    "elementwise": (
        "identity_passthrough",
        "relu_activation",
        "gelu_activation",
        "dropout_light",
        "layer_scaling",
        "skip_connection",
    ),
    "linear": (
        "linear_projection",
        "residual_block",
        "concat_fusion",
        "highway_gate",
        "feedforward_gated",
        "dense_connection",
    ),
    "normalization": ("layer_norm_basic", "batch_norm_1d"),
    "pooling": ("pooling_max", "adaptive_pooling"),
    "convolution": (
        "grouped_conv",
        "depthwise_separable",
        "dynamic_conv",
        "temporal_conv",
        "dilated_conv",
        "deformable_conv",
        "feature_pyramid",
    ),
    "gating": ("squeeze_excitation", "channel_attention", "spatial_attention"),
    "attention": (
        "cross_attention",
        "attention_single_head",
        "multi_head_attention_4",
        "transformer_block",
        "conv_transformer",
        "multi_head_attention_8",
        "non_local_block",
        "learned_positional",
    ),
    "graph": ("graph_attention",),
    "experimental": (
        "mixture_of_experts_4",
        "hierarchical_attention",
        "memory_augmented",
        "neural_ode_block",
        "differentiable_nas",
        "meta_learning_layer",
        "recursive_processing",
    ),
    "stressors": (
        "exploding_gradient",
        "vanishing_gradient",
        "nan_injection",
        "infinite_loop",
        "memory_leak",
        "deadlock_pattern",
        "race_condition",
        "adversarial_noise",
    ),
}

_BATCHES: dict[str, BatchRange] = {"batch_norm_1d": BatchRange(2, 1024)}
"""Blueprints whose eager module does not take a batch of one in training."""


class Entry(msgspec.Struct, frozen=True):
    """A built-in blueprint: the factory's path, and the batches it is meant for."""

    path: str
    batch: BatchRange


BUILTIN: dict[str, Entry] = {
    name: Entry(f"{_PACKAGE}.{family}:{name}", _BATCHES.get(name, BatchRange()))
    for family, names in _FAMILIES.items()
    for name in names
}
"""By blueprint name."""
