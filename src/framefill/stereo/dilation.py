"""Holes of a right eye grown to one side, and closed: there what tore away stands at a hole's left, what was hidden at its right.

For a left eye mirror the mask first, see `geometry.as_right`. Masks are bool H W or T H W; each frame is treated by itself.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError

SPECK = 6  # pixels

Mask = NDArray[np.bool_]  # H W or T H W


def dilate_outer(mask: Mask, n: int) -> Mask:
    """Grow the hole by `n` pixels to the right, over what it had hidden; its left edge stays. Raises UsageError for n < 0."""
    return _grow(mask, n, n)


def dilate_inner(mask: Mask, n: int) -> Mask:
    """Grow the hole by `n` pixels to the left, into the thing in front; its right edge stays. Raises UsageError for n < 0."""
    return _grow(mask, n, 0)


def close(mask: Mask, n: int) -> Mask:
    """Join what lies up to 2 `n` pixels apart: `n` times grown and `n` times shrunk by a 3 x 3 square. Raises UsageError for n < 0.

    Nothing is taken away, and nothing beyond the frame counts as hole or as known.
    """
    _check(mask, n)
    if n == 0:
        return mask.copy()
    kernel = np.ones((2 * n + 1, 2 * n + 1), np.uint8)
    out = np.empty(mask.shape, np.bool_)
    for frame, closed in zip(_frames(mask), _frames(out), strict=True):
        # A wide rim, so that what grows over the frame's edge is there to shrink back from.
        wide = cv2.copyMakeBorder(frame, n, n, n, n, cv2.BORDER_CONSTANT, value=(0,))
        closed[:] = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, kernel)[n:-n, n:-n]
    return out


def without_specks(mask: Mask) -> Mask:
    """The hole without its stray pixels: those that lie by themselves, fewer than SPECK within 7 x 7 pixels, and far from any denser part.

    A tear as thin as these comes and goes with the noise of depth, and what its neighbour lends it is as good as any fill.
    """
    _check(mask, 0)
    around = np.ones((7, 7), np.uint8)
    out = np.empty(mask.shape, np.bool_)
    for frame, kept in zip(_frames(mask), _frames(out), strict=True):
        count = cv2.boxFilter(frame, cv2.CV_8U, (7, 7), normalize=False, borderType=cv2.BORDER_CONSTANT)
        dense = cv2.bitwise_and(np.asarray(count >= SPECK).view(np.uint8), frame)
        kept[:] = cv2.bitwise_and(cv2.dilate(dense, around), frame)
    return out


def scaled(n: int, width: int, depth_width: int) -> int:
    """`n` pixels at the width of the depth map, as pixels of a mask that is `width` wide: 0 stays 0, all else is 1 or more."""
    return max(round(width / depth_width * n), 1) if n else 0


def _grow(mask: Mask, n: int, anchor: int) -> Mask:
    _check(mask, n)
    if n == 0:
        return mask.copy()
    rows = mask.reshape(-1, mask.shape[-1]).view(np.uint8)  # rows do not see each other: all frames at once
    grown = cv2.dilate(rows, np.ones((1, n + 1), np.uint8), anchor=(anchor, 0))
    return np.asarray(grown).view(np.bool_).reshape(mask.shape)


def _frames(mask: Mask) -> NDArray[np.uint8]:
    return np.ascontiguousarray(mask).view(np.uint8).reshape(-1, *mask.shape[-2:])


def _check(mask: Mask, n: int) -> None:
    if mask.dtype != np.bool_ or mask.ndim not in (2, 3):
        raise UsageError(f"mask is {mask.dtype} {mask.shape}, expected bool H W or T H W with True = unknown")
    if n < 0:
        raise UsageError(f"a mask cannot grow by {n} pixels; expected 0 or more")
