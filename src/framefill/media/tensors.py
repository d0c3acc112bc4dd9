"""The border between frames and models: uint8 `T H W 3` outside, float `B T C H W` in [-1, 1] inside. One function each way.

torch is imported when one of them is called, so that the main job never loads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError

if TYPE_CHECKING:
    import torch


def to_tensor(frames: NDArray[np.uint8]) -> torch.Tensor:
    """Frames uint8 T H W 3 or B T H W 3 as float32 B T 3 H W in [-1, 1]: 0 becomes -1, 255 becomes 1.

    Raises UsageError for other arrays.
    """
    import torch

    if frames.dtype != np.uint8 or frames.ndim not in (4, 5) or frames.shape[-1] != 3:
        raise UsageError(f"frames are {frames.dtype} {frames.shape}, expected uint8 T H W 3 or B T H W 3")
    batch = torch.from_numpy(np.require(_batched(frames, 5), requirements=["C", "W"]))  # b t h w c; torch warns of arrays that are locked
    return batch.permute(0, 1, 4, 2, 3).to(torch.float32).div_(127.5).sub_(1.0)  # b t c h w


def from_tensor(video: torch.Tensor) -> NDArray[np.uint8]:
    """A tensor B T 3 H W as frames uint8 B T H W 3: values are clipped to [-1, 1] and rounded, so `to_tensor` comes back exactly.

    Raises UsageError for a tensor of another shape.
    """
    import torch

    if video.ndim != 5 or video.shape[2] != 3:
        raise UsageError(f"tensor is {tuple(video.shape)}, expected B T 3 H W")
    levels = video.detach().to("cpu", torch.float32).clamp(-1.0, 1.0).add(1.0).mul(127.5).round_()
    return np.ascontiguousarray(levels.to(torch.uint8).permute(0, 1, 3, 4, 2).numpy())  # b t h w c


def mask_to_tensor(mask: NDArray[np.bool_]) -> torch.Tensor:
    """A mask bool T H W or B T H W as float32 B T 1 H W: 1 = unknown. Raises UsageError for other arrays."""
    import torch

    if mask.dtype != np.bool_ or mask.ndim not in (3, 4):
        raise UsageError(f"mask is {mask.dtype} {mask.shape}, expected bool T H W or B T H W")
    return torch.from_numpy(np.require(_batched(mask, 4), requirements=["C", "W"])).to(torch.float32).unsqueeze(2)  # b t 1 h w


def _batched(array: NDArray[np.generic], ndim: int) -> NDArray[np.generic]:
    return array[None] if array.ndim == ndim - 1 else array
