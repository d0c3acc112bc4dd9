"""What the tensors of the packaged motion networks are called in ours."""

from __future__ import annotations

import re

from torch import Tensor

from framefill.errors import WeightsError

Names = list[tuple[str, str]]  # pattern of a whole name, and what it becomes

RIFE: Names = [
    (r"block(\d)\.conv0\.(\d)\.0\.(weight|bias)", r"blocks.\1.down.\2.\3"),
    (r"block(\d)\.convblock\.(\d)\.conv\.(weight|bias)", r"blocks.\1.body.\2.conv.\3"),
    (r"block(\d)\.convblock\.(\d)\.beta", r"blocks.\1.body.\2.scale"),
    (r"block(\d)\.lastconv\.0\.(weight|bias)", r"blocks.\1.up.0.\2"),
]

GMFLOW: Names = [
    (r"backbone\.conv1\.weight", r"encoder.stem.weight"),
    (r"backbone\.conv2\.(weight|bias)", r"encoder.head.\1"),
    (r"backbone\.trident_conv\.weight", r"encoder.branch.weight"),
    (r"transformer\.layers\.(\d)\.self_attn\.norm1\.(weight|bias)", r"layers.\1.own.norm.\2"),
    (r"transformer\.layers\.(\d)\.self_attn\.merge\.weight", r"layers.\1.own.merge.weight"),
    (r"transformer\.layers\.(\d)\.cross_attn_ffn\.norm1\.(weight|bias)", r"layers.\1.cross.norm.\2"),
    (r"transformer\.layers\.(\d)\.cross_attn_ffn\.merge\.weight", r"layers.\1.cross.merge.weight"),
    (r"transformer\.layers\.(\d)\.cross_attn_ffn\.mlp\.(\d)\.weight", r"layers.\1.perceptron.\2.weight"),
    (r"transformer\.layers\.(\d)\.cross_attn_ffn\.norm2\.(weight|bias)", r"layers.\1.perceptron.3.\2"),
    (r"upsampler\.(\d)\.(weight|bias)", r"upsampler.\1.\2"),
]
for short, ours in (("q", "query"), ("k", "key"), ("v", "value")):
    GMFLOW += [
        (rf"transformer\.layers\.(\d)\.self_attn\.{short}_proj\.weight", rf"layers.\1.own.{ours}.weight"),
        (rf"transformer\.layers\.(\d)\.cross_attn_ffn\.{short}_proj\.weight", rf"layers.\1.cross.{ours}.weight"),
        (rf"feature_flow_attn\.{short}_proj\.(weight|bias)", rf"propagation.{ours}.\1"),
    ]
for stage in (1, 2, 3):
    for place in (0, 1):
        theirs, block = rf"backbone\.layer{stage}\.{place}", f"encoder.blocks.{2 * stage - 2 + place}"
        GMFLOW += [
            (rf"{theirs}\.conv1\.weight", f"{block}.first.weight"),
            (rf"{theirs}\.conv2\.weight", f"{block}.second.weight"),
            (rf"{theirs}\.downsample\.0\.(weight|bias)", rf"{block}.skip.\1"),
        ]


def gmflow(raw: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of GMFlow under the names of `nets.gmflow.Gmflow`. Raises WeightsError for a tensor of another name."""
    return _renamed(raw, GMFLOW)


def rife(raw: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of RIFE 4 under the names of `nets.rife.Rife`. Raises WeightsError for a tensor of another name."""
    return _renamed(raw, RIFE)


def _renamed(raw: dict[str, Tensor], names: Names) -> dict[str, Tensor]:
    return {_name(key, names): value for key, value in raw.items()}


def _name(key: str, names: Names) -> str:
    for pattern, ours in names:
        if found := re.fullmatch(pattern, key):
            return found.expand(ours)
    raise WeightsError(f"the weights hold a tensor {key!r}, which the network does not have; the file is of another version")
