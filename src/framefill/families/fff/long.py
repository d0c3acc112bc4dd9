"""Clips longer than a video net sees at once: three ways to make them of windows.

- blend: windows overlap, and at every step of the sampling the estimates of the windows are averaged where they do, by weights that
  sum to 1 (MultiDiffusion, Bar-Tal et al. 2023, arXiv 2302.08113, along time);
- chain: each window takes the last frames of the window before as known: its first frame is complete, which is what a net that makes
  a video from its first frame wants;
- keyframe: a few frames over the whole clip first, then those between them, with a known frame at both ends of every gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from framefill.diffusion.guidance import Denoise
from framefill.errors import UsageError
from framefill.families.chain import chain
from framefill.media.windows import Window

LongVideo = Literal["blend", "chain", "keyframe"]
Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W
Numbers = NDArray[np.int64]  # which frames of the clip
Fill: TypeAlias = Callable[[Frames, Mask, Numbers], Frames]  # frames that a net sees at once, their hole, their numbers in the clip


def check_long_video(name: str) -> None:
    """Raise UsageError for a way that there is not."""
    if name not in get_args(LongVideo):
        raise UsageError(f"long_video is {name!r}, expected one of {', '.join(get_args(LongVideo))}")


def blended(windows: Sequence[Window], denoisers: Sequence[Denoise]) -> Denoise:
    """One denoiser of a whole clip B T C h w from those of its windows; frames of two windows are averaged by the windows' weights.

    The weights of `media.windows.Plan` in its mode "blend" sum to 1 for every frame.
    """

    def denoised(x: Tensor, sigma: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for window, denoise in zip(windows, denoisers, strict=True):
            made = denoise(x[:, window.start : window.stop], sigma)
            weights = torch.from_numpy(window.weights()).to(made).view(1, -1, 1, 1, 1)
            total[:, window.keep_start : window.keep_stop] += weights * made[:, window.kept]
        return total

    return denoised


def chained(frames: Frames, mask: Mask, length: int, overlap: int, fill: Fill) -> Frames:
    """Make a clip window after window, each with `overlap` frames of the one before as known ones, the rest of its length for context.

    What comes before the first frame without a hole is made backwards in time, so that there, too, a window's first frame is complete.
    """
    made, left = frames.copy(), mask.copy()
    for window in chain(mask[None], length, overlap):
        numbers = np.arange(window.start, window.stop)
        hole = left[numbers]
        if not hole.any():
            continue
        backward = not left[numbers[-1]].any() and bool(hole[0].any())
        order = numbers[::-1] if backward else numbers
        new = fill(made[order], left[order], order)
        made[order] = np.where(left[order][..., None], new, made[order])
        left[window.keep_start : window.keep_stop] = False
    return made


def keyframed(frames: Frames, mask: Mask, length: int, fill: Fill) -> Frames:
    """Make a clip from coarse to fine: `length` frames spread over it, then what lies between them, with the frames made so far as known.

    Raises UsageError for a length below 3: a window between two known frames would have nothing to make.
    """
    if length < 3:
        raise UsageError(f"this net sees {length} frames at once, and keyframes take 3; give another long_video")
    made, left = frames.copy(), mask.copy()
    for numbers in coarse_to_fine(len(frames), length):
        if left[numbers].any():
            new = fill(made[numbers], left[numbers], numbers)
            made[numbers] = np.where(left[numbers][..., None], new, made[numbers])
            left[numbers] = False
    return made


def coarse_to_fine(count: int, length: int) -> Iterator[Numbers]:
    """Which frames of a clip are made together, in order: at most `length`, evenly spread, then those between, until none is left.

    Every part but the first begins and ends with a frame that stands in an earlier one; neighbouring gaps share a part if they fit.
    """
    done = _spread(0, count - 1, length)
    yield done
    while len(done) < count:
        finer: list[Numbers] = [done]
        for part in _parts(done, length):
            yield part
            finer.append(part)
        done = np.unique(np.concatenate(finer))


def _parts(done: Numbers, length: int) -> Iterator[Numbers]:
    """Cover the gaps between frames `done` by parts of at most `length` frames; a wider gap gets frames spread over it."""
    start = 0
    while start < len(done) - 1:
        stop = start + 1
        while stop + 1 < len(done) and done[stop + 1] - done[start] < length:
            stop += 1
        if done[stop] - done[start] > stop - start:  # something lies between
            yield _spread(int(done[start]), int(done[stop]), length)
        start = stop


def _spread(first: int, last: int, length: int) -> Numbers:
    """At most `length` frames from `first` to `last`, both of them among them."""
    count = min(length, last - first + 1)
    return np.unique(np.linspace(first, last, count).round().astype(np.int64))
