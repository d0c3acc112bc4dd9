"""I3D, the video network behind FVD and VFID: Inception-v1 with every kernel and pool inflated to three dimensions.

Carreira, Zisserman, Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset, CVPR 2017 (arXiv 1705.07750), RGB stream,
trained on Kinetics-400. The published weights come from TensorFlow, so every layer pads as its "SAME" does: the output has
ceil(n / stride) samples, and an odd sample of padding lies behind. The batch norms (epsilon 1e-3, no scale) are folded into the
convolutions by `weights.layouts_features.i3d`: this network is for inference only.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from framefill.errors import UsageError

CLASSES = 400
WIDTH = 1024  # channels of the last Inception map
LEAST_FRAMES = 10  # of a clip whose logits are compared: what the public FVD scripts ask for
LEAST_SIDE = 193  # pixels, the smallest whose last map is 7 wide: the average pool before the logits is 7x7

Size = tuple[int, int, int]  # of a kernel, a stride or a padding: t h w

# Output channels of the branches: 1x1, then 1x1 and 3x3, again 1x1 and 3x3, and the 1x1 after the pool (the paper's figure 3).
MIXED: dict[str, tuple[int, int, int, int, int, int]] = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}
POOLS: dict[str, tuple[Size, Size]] = {"4b": ((3, 3, 3), (2, 2, 2)), "5b": ((2, 2, 2), (2, 2, 2))}  # kernel and stride before a block


class I3DOutput(NamedTuple):
    """What I3D says of B clips: `pooled` B 1024, the mean of the last Inception map (VFID), and `logits` B 400 before softmax (FVD)."""

    pooled: Tensor
    logits: Tensor


class I3D(nn.Module):
    """The network: `net(video)` gives both features of clips B 3 T H W, float in [-1, 1] (VFID's habit: [0, 1])."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1a = SameConv(3, 64, 7, 2)
        self.conv2b = SameConv(64, 64, 1)
        self.conv2c = SameConv(64, 192, 3)
        blocks: dict[str, nn.Module] = {}
        channels = 192
        for name, widths in MIXED.items():
            blocks[name] = Mixed(channels, widths)
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.mixed = nn.ModuleDict(blocks)
        self.head = nn.Conv3d(WIDTH, CLASSES, 1)
        self.eval().requires_grad_(False)

    def forward(self, video: Tensor) -> I3DOutput:
        """Compute both features of one pass. Raises UsageError below 10 frames or 193 pixels, which leave nothing for the logits."""
        frames, height, width = video.shape[2:]
        if frames < LEAST_FRAMES:
            raise UsageError(f"the clip has {frames} frames; I3D's logits need at least {LEAST_FRAMES}: take longer clips")
        if min(height, width) < LEAST_SIDE:
            raise UsageError(f"the clip is {width}x{height}; I3D's logits need at least {LEAST_SIDE} pixels a side: resize it to 224")
        last = self.last_map(video)
        # The paper's head: average over 2x7x7, a 1x1 convolution, and the mean of the logits over the places that are left.
        places = self.head(functional.avg_pool3d(last, (2, 7, 7), stride=1))
        return I3DOutput(last.mean((2, 3, 4)), places.mean((2, 3, 4)))

    def pooled(self, video: Tensor) -> Tensor:
        """Compute only the mean over space and time of the last Inception map, B 1024, for clips of any size and length."""
        return self.last_map(video).mean((2, 3, 4))

    def last_map(self, video: Tensor) -> Tensor:
        """Compute the last Inception map, B 1024 t h w with t = ceil(T / 8) and h, w = ceil(H / 32), ceil(W / 32)."""
        x = self.conv1a(video)
        x = max_pool_same(x, (1, 3, 3), (1, 2, 2))
        x = self.conv2c(self.conv2b(x))
        x = max_pool_same(x, (1, 3, 3), (1, 2, 2))
        for name, block in self.mixed.items():
            if name in POOLS:
                x = max_pool_same(x, *POOLS[name])
            x = block(x)
        return x


class SameConv(nn.Module):
    """A convolution with TensorFlow's "SAME" padding, its bias (the folded batch norm) and a rectifier."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        # At stride 1 the padding is the same on both sides, and the convolution adds it itself.
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, padding=kernel // 2 if stride == 1 else 0)
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Compute B c t h w, each of t h w being ceil(n / stride) of the input's."""
        if self.stride > 1:
            sides: list[int] = []
            for size in reversed(x.shape[2:]):  # pad wants the last axis first
                total = same_padding(size, self.kernel, self.stride)
                sides += [total // 2, total - total // 2]
            x = functional.pad(x, sides)
        return functional.relu_(self.conv(x))


class Mixed(nn.Module):
    """An inflated Inception block: four branches side by side; sizes stay."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, narrow, wide, thin, broad, after = widths
        self.point = SameConv(inputs, one, 1)
        self.large = nn.Sequential(SameConv(inputs, narrow, 1), SameConv(narrow, wide, 3))
        self.small = nn.Sequential(SameConv(inputs, thin, 1), SameConv(thin, broad, 3))
        self.pool = SameConv(inputs, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the branches' outputs, one behind the other along the channels."""
        pooled = max_pool_same(x, (3, 3, 3), (1, 1, 1))
        return torch.cat((self.point(x), self.large(x), self.small(x), self.pool(pooled)), 1)


def same_padding(size: int, kernel: int, stride: int) -> int:
    """Count the samples that TensorFlow's "SAME" adds along an axis of `size`, of which the half, rounded down, lies in front."""
    return max((-(-size // stride) - 1) * stride + kernel - size, 0)


def max_pool_same(x: Tensor, kernel: Size, stride: Size) -> Tensor:
    """Take the maximum with "SAME" padding, which never wins: what lies behind the end is left out by `ceil_mode`."""
    front = [same_padding(size, k, s) // 2 for size, k, s in zip(x.shape[2:], kernel, stride, strict=True)]
    return functional.max_pool3d(x, kernel, stride, front, ceil_mode=True)
