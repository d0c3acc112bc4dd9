"""The published light networks as a pipeline: their way of blacking out, softening, padding and blending, and of walking through a video.

Everything here gives the numbers of nunif's `light_video_inpaint_v1` and `light_inpaint_v1`, so that its released weights do what they
were trained to do. Pictures stand in the right eye's orientation: what was hidden lies to the right of a hole; those of a left eye are
mirrored on the way in and out. Two things are done better, and change no number: what cannot reach a hole is not computed, and a frame that
is only context is not decoded. Known pixels stay bit for bit, unless the published soft rim is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from framefill.errors import UsageError
from framefill.families.light_compat_stream import LightCompatStream, Overlap
from framefill.families.one_net import OneNet, check_clip
from framefill.media.composite import composite
from framefill.media.tensors import from_tensor, mask_to_tensor, to_tensor
from framefill.nets.light_compat import CELL, GRID, LightCompat
from framefill.stereo.geometry import Eye

Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W
TAPS = 15
SIGMA = 0.15 * TAPS + 0.35
# Pixels from which content can reach a pixel: through the windows and the 3x3 convolutions of all blocks, one after the other.
REACH = {"video": 132, "image": 200}


@dataclass(frozen=True)
class Prepared:
    """Clips in the net's terms: `given` float B T 3 H W in [-1, 1], its hole black; `mask` B T 1 H W, 1 = unknown.

    soft: B T 1 H W, 1 in the hole and falling to 0 over 7 pixels around it.
    """

    given: Tensor
    mask: Tensor
    soft: Tensor


@dataclass(frozen=True)
class Output:
    """What a pipeline's call gives: `frames` uint8 T H W 3."""

    frames: Frames


class LightCompatPipeline(OneNet[LightCompat]):
    """A net and how it is fed.

    tasks: names from media.tasks. size: pixels of the square crops that it was trained on. surplus_padding: every side is padded by 1 to 64
    pixels, also where it is a multiple of 64 already, as the published code does; without it only where it is none, which changes what
    is made near the right and the lower edge. Raises UsageError for a task that does not exist.
    """

    NET, SAVED = LightCompat, ("tasks", "size", "surplus_padding")

    def __init__(self, net: LightCompat, tasks: Sequence[str] = ("stereo",), size: int = 256, surplus_padding: bool = True) -> None:
        super().__init__(net, tasks)
        self.window = int(net.config.frames)
        self.size = size
        self.surplus_padding = surplus_padding

    def prepare(self, video: Tensor, mask: Tensor) -> Prepared:
        """Black out the hole of video B T 3 H W in [-1, 1]; mask B T 1 H W, 1 = unknown. What stands in the hole is not looked at."""
        hole = mask > 0
        return Prepared(torch.where(hole, -torch.ones_like(video), video), hole.to(video), softened(hole.float()))

    def make(self, prepared: Prepared, wanted: slice = slice(None)) -> Tensor:
        """Make the `wanted` frames: float B T 3 H W, about [-1, 1], not clamped; `given` where `soft` is 0, a blend of both on the rim.

        A clip shorter than `window` is made longer with its first and last frame, half each. Raises UsageError for a longer one.
        """
        given, soft = prepared.given, prepared.soft
        frames = given.shape[1]
        if frames > self.window:
            raise UsageError(f"the clip has {frames} frames, this net sees {self.window} at once; call the pipeline, it takes any length")
        before = (self.window - frames) // 2
        around = (before, self.window - frames - before)
        first, last, _ = wanted.indices(frames)
        kept = slice(first, last)
        made = self._estimated(repeated(given, around), repeated(soft, around), slice(first + before, last + before))
        share = soft[:, kept]
        return given[:, kept] * (1 - share) + (2 * made.to(given.dtype) - 1) * share

    def _estimated(self, x: Tensor, soft: Tensor, wanted: slice) -> Tensor:
        """The net's frames in [0, 1], B T 3 H W; without a gradient only where they are looked at, zeros elsewhere."""
        height, width = x.shape[-2:]
        sides = (0, self._surplus(width), 0, self._surplus(height))
        looked_at = functional.pad(soft[:, wanted].amax((0, 1, 2)) > 0, sides)
        x, soft = (functional.pad(part.flatten(0, 1), sides, mode="replicate").unflatten(0, part.shape[:2]) for part in (x, soft))
        if torch.is_grad_enabled():
            made = self.net(x, soft, wanted)
        else:
            made = torch.zeros_like(x[:, wanted])
            for area in regions(looked_at.cpu().numpy(), REACH["image" if self.window == 1 else "video"]):
                made[(..., *area)] = self.net(x[(..., *area)], soft[(..., *area)], wanted).to(made.dtype)
        return made[..., :height, :width]

    def _surplus(self, side: int) -> int:
        return GRID - side % GRID if self.surplus_padding else -side % GRID

    @torch.no_grad()
    def __call__(self, video: Frames, mask: Mask, *, overlap: Overlap | None = None, eye: Eye = "right", soft_rim: bool = False) -> Output:
        """Make what `mask` (bool T H W, True = unknown) hides of `video` (uint8 T H W 3, any length), whatever stands there.

        overlap: context before and after the frames that each window keeps, (3, 3) by default. eye: the orientation of the holes.
        soft_rim: blend over 7 pixels around the hole, as published; else every known pixel stays. Raises MaskMismatch for a mask of
        another size, UsageError for other arrays and an overlap that cannot be.
        """
        check_clip(video, mask)
        stream = LightCompatStream(self, overlap=overlap, eye=eye, soft_rim=soft_rim)
        made = [frame for pair in zip(video, mask, strict=True) for frame in stream.push(*pair)] + stream.flush()
        return Output(np.stack(made) if made else video.copy())

    @torch.no_grad()
    def fill(self, frames: Frames, mask: Mask, wanted: slice = slice(None), soft_rim: bool = False) -> Frames:
        """Make the hole of at most `window` frames uint8 T H W 3 and give the `wanted` ones; frames without a hole stay as they are."""
        first, last, _ = wanted.indices(len(frames))
        hidden = [index for index in range(first, last) if mask[index].any()]
        out = frames[wanted].copy()
        if not hidden:
            return out
        decoded = slice(hidden[0], hidden[-1] + 1)
        device = self.net.device
        prepared = self.prepare(to_tensor(frames).to(device), mask_to_tensor(mask).to(device))
        made = from_tensor(self.make(prepared, decoded))[0]
        for index in hidden:
            picture = made[index - hidden[0]]
            out[index - first] = picture if soft_rim else composite(frames[index], picture, np.ascontiguousarray(mask[index]))
        return out


def softened(mask: Tensor) -> Tensor:
    """A mask B T 1 H W of 0 and 1 with a rim: clamp(Gaussian of 15 taps and sigma 2.6 + mask, 0, 1), edges repeated, in float32."""
    taps = torch.arange(TAPS, device=mask.device, dtype=torch.float32) - TAPS // 2
    kernel = torch.exp(-0.5 * (taps / SIGMA) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    flat = mask.float().flatten(0, 1)
    wide = functional.pad(flat, (TAPS // 2,) * 4, mode="replicate")
    blurred = functional.conv2d(functional.conv2d(wide, kernel), kernel.transpose(2, 3))
    return (blurred + flat).clamp(0, 1).unflatten(0, mask.shape[:2])


def repeated(part: Tensor, around: tuple[int, int]) -> Tensor:
    """B T C H W with its first frame `around[0]` times more before it, and its last `around[1]` times after it."""
    if not any(around):
        return part
    return torch.cat([part[:, :1].expand(-1, around[0], -1, -1, -1), part, part[:, -1:].expand(-1, around[1], -1, -1, -1)], 1)


def regions(looked_at: Mask, reach: int) -> list[tuple[slice, slice]]:
    """Rectangles on the grid of 64 pixels that give the net's answer where `looked_at` (bool H W, multiples of 64) as the whole would.

    Each holds all that stands within `reach` pixels of the places that it is for, and is not larger together with another than apart.
    """
    rows, columns = (side // GRID for side in looked_at.shape)
    cells = looked_at.reshape(rows * GRID // CELL, CELL, columns * GRID // CELL, CELL).any((1, 3))
    seen = cv2.dilate(np.asarray(cells, np.uint8), np.ones((2 * reach // CELL + 1,) * 2, np.uint8))
    tiles = seen.reshape(rows, GRID // CELL, columns, GRID // CELL).max((1, 3))
    _, _, stats, _ = cv2.connectedComponentsWithStats(tiles, connectivity=4)
    boxes = [(top, top + height, left, left + width) for left, top, width, height, _ in stats[1:].tolist()]
    return [(slice(top * GRID, bottom * GRID), slice(left * GRID, right * GRID)) for top, bottom, left, right in _joined(boxes)]


def _joined(boxes: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Boxes (top, bottom, left, right), of which two become one as long as that one is not larger than both."""
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            both = (min(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), max(one[3], other[3]))
            if _area(both) <= _area(one) + _area(other):
                return _joined([both, *(box for box in boxes if box not in (one, other))])
    return boxes


def _area(box: tuple[int, int, int, int]) -> int:
    return (box[1] - box[0]) * (box[3] - box[2])
