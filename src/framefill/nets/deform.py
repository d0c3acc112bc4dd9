"""Modulated deformable 3x3 convolution: each tap of the kernel looks at a place of its own, with a weight of its own.

Zhu, Hu, Lin and Dai, Deformable ConvNets v2, CVPR 2019, equation 1. In plain PyTorch, which runs everywhere; torchvision's operator, which
gives the same, where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from framefill.nets.sampling import pixel_grid

TAPS = 9  # of a 3x3 kernel, row by row
Operator = Callable[..., Tensor]


def deform_conv(x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve x B C h w by `weight` O C 3 3 at deformed places, B O h w; beyond the edge stand zeros.

    `offset` B 18 G h w are (dy, dx) in pixels of each tap of each of G groups of channels, `modulation` B 9 G h w each tap's weight.
    Places are worked out in float32 whatever x is, for in half precision they would jump by parts of a pixel.
    """
    parts = [part.float() for part in (x, offset, modulation, weight, bias)]
    return (operator() or plain)(*parts).to(x.dtype)


def plain(x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`deform_conv` in plain PyTorch: all taps of all groups are sampled at once, then mixed by one product of matrices."""
    batch, channels, height, width = x.shape
    groups = modulation.shape[1] // TAPS
    steps = torch.arange(-1, 2, device=x.device, dtype=x.dtype)
    kernel = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), 2).view(1, TAPS, 2, 1, 1)
    places = offset.view(batch * groups, TAPS, 2, height, width) + kernel + pixel_grid(height, width, x).flip(0)
    grid = torch.stack(((2 * places[:, :, 1] + 1) / width - 1, (2 * places[:, :, 0] + 1) / height - 1), 4)  # bg 9 h w 2
    split = x.reshape(batch * groups, channels // groups, height, width)
    sampled = functional.grid_sample(split, grid.view(len(grid), TAPS * height, width, 2), padding_mode="zeros", align_corners=False)
    sampled = sampled.view(batch, groups, -1, TAPS, height * width) * modulation.view(batch, groups, 1, TAPS, height * width)
    mixed = weight.flatten(1) @ sampled.reshape(batch, channels * TAPS, height * width)
    return mixed.view(batch, -1, height, width) + bias[:, None, None]


@cache
def operator() -> Operator | None:
    """Return torchvision's operator, None where torchvision is missing or was built for another PyTorch."""
    try:
        from torchvision.ops import deform_conv2d

        deform_conv2d(torch.zeros(1, 1, 1, 1), torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, 1))
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None

    def run(x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return deform_conv2d(x, offset, weight, bias, padding=1, mask=modulation)

    return run
