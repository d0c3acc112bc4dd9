"""Depth networks of every family of transformers that is supported, tiny and with random weights, written as their makers write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
import transformers as tf
from torch import nn

NARROW = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}
PATCHES = {"keep_aspect_ratio": True, "ensure_multiple_of": 14, "size": {"height": 42, "width": 42}}
SMALL = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}


def dinov2() -> tf.Dinov2Config:
    stages = {"out_indices": [1, 2, 3, 4], "reshape_hidden_states": False}
    return tf.Dinov2Config(image_size=28, patch_size=14, mlp_ratio=2, **SMALL, **stages)


def depth_anything(kind: str) -> nn.Module:
    sizes = {"reassemble_hidden_size": 16, "head_hidden_size": 4, "max_depth": 20 if kind == "metric" else 1}
    config = tf.DepthAnythingConfig(backbone_config=dinov2(), depth_estimation_type=kind, **NARROW, **sizes)
    return tf.DepthAnythingForDepthEstimation(config)


def dpt() -> nn.Module:
    sizes = {"image_size": 32, "patch_size": 16, "intermediate_size": 32, "backbone_out_indices": [0, 1, 2, 3]}
    return tf.DPTForDepthEstimation(tf.DPTConfig(**SMALL, **NARROW, **sizes))


def dpt_on_dinov2() -> nn.Module:
    return tf.DPTForDepthEstimation(tf.DPTConfig(backbone_config=dinov2(), hidden_size=16, **NARROW))


def glpn() -> nn.Module:
    each = {"num_attention_heads": [1, 1, 1, 1], "depths": [1, 1, 1, 1], "mlp_ratios": [2, 2, 2, 2]}
    return tf.GLPNForDepthEstimation(tf.GLPNConfig(hidden_sizes=[8, 8, 8, 8], decoder_hidden_size=8, **each))


def zoedepth() -> nn.Module:
    stages = {"out_indices": [1, 2, 3, 4], "reshape_hidden_states": False, "use_relative_position_bias": True}
    backbone = tf.BeitConfig(image_size=32, patch_size=16, intermediate_size=32, **SMALL, **stages)
    head = {"bottleneck_features": 8, "num_relative_features": 8, "bin_embedding_dim": 8, "num_attractors": [4, 2, 2, 1]}
    bins = [{"n_bins": 8, "min_depth": 1e-3, "max_depth": 10.0}]
    return tf.ZoeDepthForDepthEstimation(tf.ZoeDepthConfig(backbone_config=backbone, bin_configurations=bins, **NARROW, **head))


def depth_pro() -> nn.Module:
    encoder = {"model_type": "dinov2", "image_size": 16, "patch_size": 8, "mlp_ratio": 2, **SMALL}
    scales = {"scaled_images_feature_dims": [8, 8, 8], "intermediate_hook_ids": [2, 1], "intermediate_feature_dims": [8, 8]}
    encoders = {f"{name}_model_config": dict(encoder) for name in ("image", "patch", "fov")}
    return tf.DepthProForDepthEstimation(
        tf.DepthProConfig(patch_size=16, fusion_hidden_size=8, merge_padding_value=1, **scales, **encoders)
    )


# The network, what lies beside it about pictures, whether larger is nearer, and whether it gives distances: as their papers tell.
NETS: dict[str, tuple[Callable[[], nn.Module], dict[str, object], bool, bool]] = {
    "depth-anything": (lambda: depth_anything("relative"), PATCHES, True, False),
    "depth-anything-metric": (lambda: depth_anything("metric"), PATCHES, False, True),
    "dpt": (dpt, {"size": {"height": 48, "width": 48}}, True, False),
    "dpt-dinov2": (dpt_on_dinov2, PATCHES, False, True),
    "glpn": (glpn, {"do_resize": True, "size_divisor": 32}, False, True),
    "zoedepth": (zoedepth, {"size": {"height": 64, "width": 64}, "ensure_multiple_of": 32, "keep_aspect_ratio": True}, False, True),
    "depth-pro": (depth_pro, {"size": {"height": 64, "width": 64}}, True, False),
}


def write_net(name: str, folder: Path) -> nn.Module:
    """Write the network `name` to a folder and return it; its weights are large enough for an answer that varies."""
    torch.manual_seed(0)
    make, preprocessor, _, _ = NETS[name]
    net = make().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 1.5 / parameter[0].numel() ** 0.5)
            else:
                parameter.add_(0.05)
    net.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor), encoding="utf-8")
    return net
