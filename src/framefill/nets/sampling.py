"""Pictures sampled where a flow points."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Return the x and the y of each pixel, 2 H W, of the type and on the device of `like`."""
    y, x = torch.meshgrid(*(torch.arange(length, device=like.device, dtype=like.dtype) for length in (height, width)), indexing="ij")
    return torch.stack((x, y))


def warp(picture: Tensor, flow: Tensor, padding: Literal["border", "zeros"] = "border") -> Tensor:
    """Sample `picture` B C H W bilinearly at each pixel plus `flow` B 2 H W (x, y, pixels).

    Beyond the edge stands the edge, or zeros.
    """
    height, width = picture.shape[2:]
    places = pixel_grid(height, width, flow) + flow
    across, down = places[:, 0] * (2 / max(width - 1, 1)) - 1, places[:, 1] * (2 / max(height - 1, 1)) - 1
    return functional.grid_sample(picture, torch.stack((across, down), 3), padding_mode=padding, align_corners=True)
