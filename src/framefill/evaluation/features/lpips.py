"""LPIPS 0.1: how different two pictures look, from the features of a classification network and weights fitted to people's judgements.

Zhang, Isola, Efros, Shechtman, Wang, The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018
(arXiv 1801.03924), equation 1: features of five layers are scaled to unit length along the channels, their squared differences are
weighted a channel each and summed, averaged over the picture and added up over the layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from framefill.errors import UsageError
from framefill.evaluation.features.frames import Pictures, Range, unit_batches
from framefill.evaluation.features.inference import inference

Backbone = Literal["alex", "vgg"]


@dataclass(frozen=True)
class Layer:
    """One convolution, always followed by a rectifier: whether a pool comes before it, and whether its output is compared."""

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pooled: bool = False
    compared: bool = False


ALEX = (
    Layer(64, 11, 4, 2, compared=True),
    Layer(192, 5, 1, 2, pooled=True, compared=True),
    Layer(384, pooled=True, compared=True),
    Layer(256, compared=True),
    Layer(256, compared=True),
)
VGG = tuple(
    Layer(channels, pooled=stage > 0 and place == 0, compared=place == count - 1)
    for stage, (channels, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)))
    for place in range(count)
)
LAYERS: dict[Backbone, tuple[Layer, ...]] = {"alex": ALEX, "vgg": VGG}
POOL_KERNEL: dict[Backbone, int] = {"alex": 3, "vgg": 2}  # stride 2 in both
LEAST_SIDE: dict[Backbone, int] = {"alex": 31, "vgg": 16}  # pixels, below which a pool has nothing left

# Mean and spread of ImageNet for pictures in [-1, 1], as the published metric rounds them.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10  # beside the length of a feature vector, as in the published metric
_BATCH_PIXELS = 2**20  # pixels of a batch of pictures; the first maps of VGG16 then take half a GB


class Perceptual(NamedTuple):
    """LPIPS of T pairs: `value` float32 T is the published number, `map` float32 T H W the same at every pixel.

    The maps of the layers are enlarged bilinearly to the picture, so a mean of `map` over a mask is a masked LPIPS. Its mean over
    the whole picture is near `value` and not equal to it: enlarging weighs the rim differently.
    """

    value: NDArray[np.float32]
    map: NDArray[np.float32]


class Lpips(nn.Module):
    """The metric: `net(first, second)` is the distance of B pairs of pictures B 3 H W, float in [-1, 1], as a tensor B."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.layers = LAYERS[backbone]
        inputs = (3, *(layer.channels for layer in self.layers))
        self.convs = nn.ModuleList(
            nn.Conv2d(before, layer.channels, layer.kernel, layer.stride, layer.padding)
            for before, layer in zip(inputs, self.layers, strict=False)
        )
        self.heads = nn.ParameterList(torch.rand(layer.channels) / layer.channels for layer in self.layers if layer.compared)
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Compute the published distance, B: 0 for equal pictures, the same in both directions."""
        return mean_of(self.differences(first, second))

    def differences(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """Compute the weighted squared differences of the five layers, each B h w at the layer's own size.

        Raises UsageError for pictures of two shapes or too small for the backbone's pools.
        """
        if first.shape != second.shape:
            raise UsageError(f"LPIPS compares pictures of one shape; these are {tuple(first.shape)} and {tuple(second.shape)}")
        height, width = first.shape[2:]
        if min(height, width) < LEAST_SIDE[self.backbone]:
            raise UsageError(f"the pictures are {width}x{height}; LPIPS ({self.backbone}) needs {LEAST_SIDE[self.backbone]} pixels a side")
        one, other = self.features(first), self.features(second)
        return [torch.einsum("bchw,c->bhw", (a - b).square_(), head) for a, b, head in zip(one, other, self.heads, strict=True)]

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Compute the five maps of unit vectors, each B c h w, of pictures B 3 H W in [-1, 1]."""
        x = (pictures - self.shift) / self.scale
        found = []
        for layer, conv in zip(self.layers, self.convs, strict=True):
            if layer.pooled:
                x = functional.max_pool2d(x, POOL_KERNEL[self.backbone], 2)
            x = functional.relu_(conv(x))
            if layer.compared:
                found.append(x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + _EPSILON))
        return found


def mean_of(differences: list[Tensor]) -> Tensor:
    """Sum the layers' means over the picture, B: the published value."""
    return torch.stack([layer.mean((1, 2)) for layer in differences]).sum(0)


def map_of(differences: list[Tensor], height: int, width: int) -> Tensor:
    """Sum the layers' maps, each enlarged bilinearly (align_corners False) to the picture, B H W."""
    enlarged = [functional.interpolate(layer[:, None], (height, width), mode="bilinear", align_corners=False) for layer in differences]
    return torch.cat(enlarged, 1).sum(1)


@inference()
def perceptual(net: Lpips, first: Pictures, second: Pictures, declared: Range = "0..255") -> Perceptual:
    """Measure LPIPS of T pairs of frames T H W 3, uint8 or floats of the range `declared`, in batches of bounded memory.

    Raises UsageError for frames that do not fit each other, of another range, or too small.
    """
    if tuple(first.shape) != tuple(second.shape):
        raise UsageError(f"LPIPS compares clips of one shape; these are {tuple(first.shape)} and {tuple(second.shape)}")
    device = net.shift.device
    height, width = first.shape[1:3]
    count = max(1, _BATCH_PIXELS // max(1, height * width))
    values, maps = [], []
    for one, other in zip(unit_batches(first, count, declared), unit_batches(second, count, declared), strict=True):
        differences = net.differences(one.to(device) * 2 - 1, other.to(device) * 2 - 1)
        values.append(mean_of(differences).cpu())
        maps.append(map_of(differences, height, width).cpu())
    return Perceptual(torch.cat(values).numpy(), torch.cat(maps).numpy())
