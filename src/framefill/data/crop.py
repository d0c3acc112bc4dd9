"""From a picture of any shape to one of a given size, without distortion: resize until it covers, cut off the rest."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.media.video import VideoMeta

MIDDLE = np.array((0.5, 0.5))


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return height and width of a size that may be one number for both. Raises UsageError for one below 1."""
    both = (size, size) if isinstance(size, int) else size
    if min(both) < 1:
        raise UsageError(f"size is {both[0]}x{both[1]}, expected pixels above 0")
    return both


def cover(meta: VideoMeta, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width to which a source is resized so that it just covers `size` and keeps its shape; the rest is cropped off."""
    width = float(meta.width * meta.sample_aspect_ratio)
    scale = max(size[0] / meta.height, size[1] / width)
    return max(size[0], round(meta.height * scale)), max(size[1], round(width * scale))


def nearer(covering: tuple[int, int], source: tuple[int, int], zoom: float, rng: Generator) -> tuple[int, int]:
    """Draw height and width between what just covers a crop and `zoom` times that, log-uniformly; never larger than the source."""
    if zoom == 1:
        return covering
    most = max(1.0, min(zoom, source[0] / covering[0], source[1] / covering[1]))
    scale = float(np.exp(rng.uniform(0, np.log(most))))
    return max(covering[0], round(covering[0] * scale)), max(covering[1], round(covering[1] * scale))


def crop(frames: NDArray[np.uint8], size: tuple[int, int], place: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Cut `size` (height, width) out of frames T H W 3, at `place` in [0, 1] of the way down and to the right."""
    top, left = (round(float(where) * (whole - part)) for where, whole, part in zip(place, frames.shape[1:3], size, strict=True))
    return np.ascontiguousarray(frames[:, top : top + size[0], left : left + size[1]])


def maybe_flipped(clip: NDArray[np.uint8], rng: Generator, flip: float) -> NDArray[np.uint8]:
    """Mirror frames T H W 3 left and right with probability `flip`."""
    return np.ascontiguousarray(clip[:, :, ::-1]) if rng.random() < flip else clip
