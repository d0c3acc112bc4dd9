"""A rectangle of one size that follows a hole through a clip, so that a net sees the hole near and the picture at its own detail."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.media.composite import bounding_box
from framefill.motion.regions import regions_of

Mask = NDArray[np.bool_]  # T H W
Places = NDArray[np.int64]  # T
CONTEXT = 0.5  # of a hole's larger side, that is seen around it on every side
LEAST_CONTEXT, LEAST_BESIDE = 32, 8  # pixels around a hole: wished for, and kept however fast the hole moves
NEARLY_ALL = 0.8  # of both sides of the picture, above which all of it is taken
STEADY = 3.0  # frames, deviation of the Gaussian that keeps the rectangle from trembling
MOST = 3  # rectangles at a time; more holes than these are seen in one


@dataclass(frozen=True)
class Track:
    """Rectangles of `width` x `height` pixels with their upper left corners at `left`, `top`, one for each frame."""

    left: Places
    top: Places
    width: int
    height: int

    def cut(self, clip: NDArray[np.generic]) -> NDArray[np.generic]:
        """The rectangles of a clip T H W or T H W C, copied."""
        return np.stack([frame[self._place(number)] for number, frame in enumerate(clip)])

    def paste(self, clip: NDArray[np.generic], parts: NDArray[np.generic]) -> None:
        """Put the rectangles back into a clip."""
        for number, part in enumerate(parts):
            clip[number][self._place(number)] = part

    def _place(self, number: int) -> tuple[slice, slice]:
        top, left = int(self.top[number]), int(self.left[number])
        return slice(top, top + self.height), slice(left, left + self.width)


def tracks(mask: Mask, least: int) -> list[Track]:
    """Rectangles that hold the holes of a clip (bool T H W) with what is around them, `least` pixels a side if the picture has as many.

    Holes that never come near each other get one each, up to `MOST` of them. A hole that fills most of the picture gets all of it. Empty
    for an empty mask.
    """
    ever = np.asarray(mask.any(0), np.bool_)
    if not ever.any():
        return []
    regions = regions_of(ever, LEAST_CONTEXT)
    if len(regions) > MOST:
        return [track(mask, least)]
    parts = []
    for region in regions:
        only = np.zeros_like(mask)
        only[(slice(None), *region.area)] = mask[(slice(None), *region.area)]
        parts.append(track(only, least))
    pixels = mask.shape[1] * mask.shape[2]
    return parts if sum(part.width * part.height for part in parts) < pixels else [track(mask, least)]


def track(mask: Mask, least: int) -> Track:
    """One rectangle for all holes of a clip, which has some."""
    frames, height, width = mask.shape
    boxes = [bounding_box(frame) for frame in mask]
    held = np.array([number for number, box in enumerate(boxes) if box is not None])
    edges = np.array([(box[1].start, box[0].start, box[1].stop, box[0].stop) for box in boxes if box is not None], np.float64)
    extent = (edges[:, 2:] - edges[:, :2]).max(0)
    context = max(LEAST_CONTEXT, CONTEXT * float(extent.max()))
    sides = [int(min(whole, max(least, np.ceil(side + 2 * context)))) for side, whole in zip(extent, (width, height), strict=True)]
    if sides[0] >= NEARLY_ALL * width and sides[1] >= NEARLY_ALL * height:
        still = np.zeros(frames, np.int64)
        return Track(still, still, width, height)
    places = []
    for axis, (side, whole) in enumerate(zip(sides, (width, height), strict=True)):
        first, last = (np.interp(np.arange(frames), held, edges[:, axis + end]) for end in (0, 2))
        spare = np.minimum(LEAST_BESIDE, (side - (last - first)) / 2)
        steady = _smoothed((first + last - side) / 2)
        # The hole stays inside, whatever smoothing says, and the rectangle in the picture.
        inside = np.clip(steady, np.ceil(last + spare - side), np.floor(first - spare))
        places.append(np.clip(np.rint(inside), 0, whole - side).astype(np.int64))
    return Track(places[0], places[1], *sides)


def _smoothed(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """A path along time, smoothed; still where it stands still."""
    out = cv2.GaussianBlur(path[:, None], (1, 6 * int(STEADY) + 1), sigmaX=STEADY, sigmaY=STEADY, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.float64).reshape(-1)
