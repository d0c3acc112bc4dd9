"""The light network as a pipeline: a video and a mask in, the same video with the masked part made, in one pass and on a CPU.

`prepare` fills the hole smoothly, from the known pixels alone; `make` lets the net say what to change in it. Training calls these two,
inference no other way. A net that has learnt nothing so gives the smooth fill, and what was hidden cannot reach it. Known pixels are put
back bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from framefill.families.one_net import OneNet, check_clip
from framefill.media.tensors import from_tensor, mask_to_tensor, to_tensor
from framefill.media.windows import Plan, Window, assemble
from framefill.motion.completion import chebyshev, sweeps_at
from framefill.nets.light import Light

Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W
OVERLAP = 4  # frames that two windows share, at most; cross-faded


@dataclass(frozen=True)
class Prepared:
    """A video in the net's terms: `given` float B T 3 H W in [-1, 1], its hole filled smoothly; `mask` float B T 1 H W, 1 = unknown."""

    given: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Output:
    """What a pipeline's call gives: `frames` uint8 T H W 3, equal to the video wherever the mask is False."""

    frames: Frames


class LightPipeline(OneNet[Light]):
    """A net and what it was trained on.

    tasks: names from media.tasks. window: frames that it sees at once; longer videos go in windows that are cross-faded. size: pixels of
    the square crops that it was trained on. Raises UsageError for a task that does not exist.
    """

    NET, SAVED = Light, ("tasks", "window", "size")

    def __init__(self, net: Light, tasks: Sequence[str], window: int = 12, size: int = 128) -> None:
        super().__init__(net, tasks)
        self.window = window
        self.size = size

    def prepare(self, video: Tensor, mask: Tensor) -> Prepared:
        """Fill the hole of video B T 3 H W in [-1, 1] smoothly; mask B T 1 H W, 1 = unknown. What stands in the hole is not looked at."""
        hole = mask > 0
        filled = smooth(torch.where(hole, torch.zeros_like(video), video).flatten(0, 1), (~hole).to(video).flatten(0, 1))
        return Prepared(torch.where(hole, filled.unflatten(0, video.shape[:2]), video), hole.to(video))

    def make(self, prepared: Prepared) -> Tensor:
        """Make the hole: float B T 3 H W, about [-1, 1], equal to `given` where the mask is 0."""
        dtype = self.net.dtype
        change = self.net(prepared.given.to(dtype), prepared.mask.to(dtype))
        return prepared.given + change.to(prepared.given.dtype)

    @torch.no_grad()
    def __call__(self, video: Frames, mask: Mask, *, overlap: int = OVERLAP) -> Output:
        """Make what `mask` (bool T H W, True = unknown) hides of `video` (uint8 T H W 3), whatever stands there.

        A clip longer than `window` is made in windows that share `overlap` frames and are cross-faded there. Frames without a hole pass
        as they are. Raises MaskMismatch for a mask of another size, UsageError for an overlap that cannot be.
        """
        check_clip(video, mask)
        if not mask.any():
            return Output(video)
        frames = np.stack([np.asarray(frame, np.uint8) for frame in assemble(self._windows(video, mask, overlap))])
        return Output(np.where(mask[..., None], frames, video))

    def _windows(self, video: Frames, mask: Mask, overlap: int) -> Iterator[tuple[Window, Frames]]:
        for window in Plan("blend", self.window, min(overlap, self.window // 2)).windows(len(video)):
            part = slice(window.start, window.stop)
            yield window, self.fill(video[part], mask[part])

    @torch.no_grad()
    def fill(self, frames: Frames, mask: Mask) -> Frames:
        """Make the hole of frames that the net sees at once, uint8 T H W 3; only the hole differs from them."""
        if not mask.any():
            return frames
        device = self.net.device
        made = self.make(self.prepare(to_tensor(frames).to(device), mask_to_tensor(mask).to(device)))
        return np.where(mask[..., None], from_tensor(made)[0], frames)


def smooth(picture: Tensor, known: Tensor, level: int = 0) -> Tensor:
    """Fill pictures float N C H W where `known` (N 1 H W) is 0 by the Laplace equation; what is known stays, nothing known: zeros.

    The same as `motion.completion.harmonic`, on batches: from coarse to fine, with Chebyshev's semi-iteration on each level. Of 62 crops of
    128x128 with holes of every kind the fill has 24.54 dB, solved to the end 24.59, by pull-push 23.07.
    """
    hole = known <= 0
    if not bool(hole.any()):
        return picture
    height, width = picture.shape[-2:]
    if height <= 2 and width <= 2:
        total = known.sum((2, 3), keepdim=True)
        return torch.where(hole, (picture * known).sum((2, 3), keepdim=True) / total.clamp_min(1), picture)
    sides = (0, width % 2, 0, height % 2)
    share = functional.avg_pool2d(functional.pad(known, sides), 2)
    whole = functional.avg_pool2d(functional.pad(torch.ones_like(known), sides), 2)
    mean = functional.avg_pool2d(functional.pad(picture * known, sides), 2) / share.clamp_min(1e-6)
    enough = share >= whole / 2
    enough = torch.where(enough.flatten(1).any(1).view(-1, 1, 1, 1), enough, share > 0).to(known)
    wide = smooth(mean * enough, enough, level + 1)
    spread = functional.interpolate(wide, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    return _relaxed(torch.where(hole, spread, picture), hole, sweeps_at(level))


def _relaxed(field: Tensor, hole: Tensor, sweeps: int) -> Tensor:
    """Take a field nearer to the solution of the Laplace equation in the hole."""
    before = field
    for weight in chebyshev(sweeps):
        wide = functional.pad(field, (1, 1, 1, 1), mode="replicate")
        mean = (wide[..., 1:-1, :-2] + wide[..., 1:-1, 2:] + wide[..., :-2, 1:-1] + wide[..., 2:, 1:-1]) / 4
        before, field = field, torch.where(hole, torch.lerp(before, mean, weight), field)
    return field
