"""MobileNetV2, a small network whose 1,280 features say what a picture shows: a stand-in for CLIP where frames are held together.

Sandler, Howard, Zhu, Zhmoginov, Chen, MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018 (arXiv 1801.04381), table 2,
trained on ImageNet. The batch norms are folded into the convolutions by `weights.layouts_features.mobilenetv2`: for inference only.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from framefill.evaluation.features.frames import Pictures, Range, unit_batches
from framefill.evaluation.features.inference import inference

SIDE = 224  # pixels: the whole frame is resized to a square of it, with antialiasing, so that nothing is cropped away
WIDTH = 1280
BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))  # table 2: t c n s

_MEAN = (0.485, 0.456, 0.406)  # of ImageNet in [0, 1]
_SPREAD = (0.229, 0.224, 0.225)
_BATCH = 16


class MobileNetV2(nn.Module):
    """The network without its classifier: `net(pictures)` is B 1280, the mean of the last map, for pictures B 3 H W in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, 2, 1)
        blocks: list[nn.Module] = []
        channels = 32
        for expansion, outputs, count, stride in BLOCKS:
            for place in range(count):
                blocks.append(Inverted(channels, outputs, stride if place == 0 else 1, expansion))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self.last = nn.Conv2d(channels, WIDTH, 1)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("spread", torch.tensor(_SPREAD)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute the features of pictures of any size."""
        x = functional.relu6(self.first((pictures - self.mean) / self.spread))
        for block in self.blocks:
            x = block(x)
        return functional.relu6(self.last(x)).mean((2, 3))


class Inverted(nn.Module):
    """An inverted residual: widen by 1x1, filter each channel by 3x3, narrow by 1x1 without a rectifier; added where sizes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = nn.Conv2d(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide)
        self.project = nn.Conv2d(wide, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Compute B c h w, at half the size where the stride is 2."""
        wide = x if self.expand is None else functional.relu6(self.expand(x))
        narrow = self.project(functional.relu6(self.depthwise(wide)))
        return x + narrow if self.residual else narrow


@inference()
def frame_features(net: MobileNetV2, frames: Pictures, declared: Range = "0..255") -> NDArray[np.float32]:
    """Compute the features T 1280 of frames T H W 3, uint8 or floats of the range `declared`, each resized whole to 224x224.

    Raises UsageError for other arrays or another range.
    """
    found = []
    for pictures in unit_batches(frames, _BATCH, declared):
        # Resized before the network's own mean and spread; bilinear with antialiasing, so that a large frame does not alias.
        square = functional.interpolate(pictures.to(net.mean.device), (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        found.append(net(square).cpu())
    features: NDArray[np.float32] = torch.cat(found).numpy()
    return features
