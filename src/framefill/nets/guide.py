"""What nets that carry things along optical flow are told of a clip: where it is unknown, and how its frames move into each other.

A flow may be trusted where the one back leads home again: Sundaram, Brox and Keutzer, Dense Point Trajectories, ECCV 2010, equation 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from framefill.errors import UsageError
from framefill.nets.sampling import warp

RELATIVE, ABSOLUTE = 0.01, 0.5  # share of the flows' squares, and square pixels, by which flows there and back may miss each other


@dataclass(frozen=True)
class Guide:
    """A clip's holes and motion at one size, that of the latents: flows are in pixels of that size.

    `mask` float B T 1 h w, 1 where any pixel of the cell is unknown, else 0; `there` float B T-1 2 h w, the flow (x, y) from frame i to
    frame i + 1; `back` float B T-1 2 h w, from frame i + 1 to frame i. Raises UsageError for shapes that do not fit together.
    """

    mask: Tensor
    there: Tensor
    back: Tensor

    def __post_init__(self) -> None:
        batch, frames, _, height, width = self.mask.shape if self.mask.ndim == 5 else (0,) * 5
        flow = (batch, frames - 1, 2, height, width)
        if batch < 1 or self.mask.shape[2] != 1 or self.there.shape != flow or self.back.shape != flow:
            raise UsageError(
                f"a guide's mask is {tuple(self.mask.shape)} with flows {tuple(self.there.shape)} and {tuple(self.back.shape)}; "
                "expected B T 1 h w and twice B T-1 2 h w"
            )

    def to(self, device: torch.device | str) -> Guide:
        """Bring the guide to a device; its numbers stay float32, for half precision would move flows by parts of a pixel."""
        return Guide(self.mask.to(device), self.there.to(device), self.back.to(device))

    def tiled(self, batch: int) -> Guide:
        """Repeat the guide along the batch, as guidance does with what it denoises twice. Raises UsageError for no multiple of B."""
        if batch == len(self.mask):
            return self
        if batch % len(self.mask):
            raise UsageError(f"the guide is for {len(self.mask)} clips and {batch} came; pass a guide for one clip or for each")
        times = batch // len(self.mask)
        return Guide(*(part.repeat(times, 1, 1, 1, 1) for part in (self.mask, self.there, self.back)))

    def fitting(self, features: Tensor) -> Guide:
        """Fit the guide to features B T C h w: along the batch, on their device. Raises UsageError for another length or size."""
        batch, frames, _, *size = features.shape
        length, _, *own = self.mask.shape[1:]
        if (frames, *size) != (length, *own):
            raise UsageError(
                f"the guide is for {length} frames of {own[1]}x{own[0]} and features are {frames} of {size[1]}x{size[0]}; make it for these"
            )
        return self.tiled(batch).to(features.device)

    @property
    def trust_there(self) -> Tensor:
        """Where `there` may be believed, float B T-1 1 h w."""
        return _each(self.there, self.back)

    @property
    def trust_back(self) -> Tensor:
        """Where `back` may be believed, float B T-1 1 h w."""
        return _each(self.back, self.there)


def batched(guides: Sequence[Guide]) -> Guide:
    """Put the guides of clips of one length and size into one batch, in their order."""
    return Guide(*(torch.cat(parts) for parts in zip(*((guide.mask, guide.there, guide.back) for guide in guides), strict=True)))


def trusted(flow: Tensor, opposite: Tensor) -> Tensor:
    """Tell where a flow may be believed: 1 where the opposite one leads back to within half a pixel or so, else 0; float B 1 H W.

    Flows B 2 H W; beyond the picture's edge the opposite flow is zero.
    """
    return agree(flow, warp(opposite, flow, padding="zeros")).to(flow.dtype)


def agree(flow: Tensor, home: Tensor) -> Tensor:
    """Whether flows (x, y along axis 1) and those that they meet where they end cancel out, bool, of one number along axis 1."""
    missed, out, back = (part.square().sum(1, keepdim=True) for part in (flow + home, flow, home))
    return missed < RELATIVE * (out + back) + ABSOLUTE


def _each(flows: Tensor, opposites: Tensor) -> Tensor:
    if not flows.shape[1]:
        return flows[:, :, :1]
    return trusted(flows.flatten(0, 1), opposites.flatten(0, 1)).unflatten(0, flows.shape[:2])
