"""Seams: how much more the picture jumps where made pixels meet known ones than it jumps there anyway.

In space (`seam_score`) the rim of the hole is walked in the four directions of the pixel grid. Each place where the last
hole pixel p is followed by two known pixels q and r in a row gives two jumps: p to q, across the rim, and q to r, just
outside it. Their mean difference is the score: texture, noise and slopes raise both jumps alike and cancel, a step of colour
raises only the first. In time (`temporal_jump`, `temporal_seam`) the change from frame to frame inside the hole at the border
of two windows is held against the frames around it, so that motion does not count as a seam.

Unit: 8-bit levels, mean of the absolute differences of R, G and B (a seam of colour at equal luma is seen too).
Each function is a pure function of one or two frames, so that a stream can be measured while it is written.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import MaskMismatch

RADIUS = 12  # frames on either side that say what is normal around a window border: half a second at 25 frames/s


def seam_score(before: NDArray[np.uint8], after: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
    """Return how many levels more the colour jumps across the mask's rim than between the known pixels just outside.

    `before` and `after` are uint8 H W 3, `mask` bool H W with True = made. Made pixels are read from `after`, known ones from
    `before`, so that a bare fill and its composite score alike. The range is 0 .. 255: 0 means no more jump than the
    surroundings have (a fill smoother than its surroundings is no seam and scores 0 too); the flat fill of a flat picture that
    is d levels off scores d. It is nan where nothing can be compared: an empty mask, a full one, or one so near to the frame's
    edge everywhere that no two known pixels lie in a row beside it. Raises MaskMismatch when the shapes do not agree.
    """
    _check_shapes(before, after, mask)
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:
        return float("nan")
    # Two known pixels beyond the hole are looked at; all else need not be touched.
    rows = slice(max(top - 2, 0), top + height + 2)
    columns = slice(max(left - 2, 0), left + width + 2)
    known_rgb, made_rgb, hole = before[rows, columns], after[rows, columns], mask[rows, columns]
    excess, places = 0, 0
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        p, q, r = _rim(hole, down, right)
        if len(p[0]):
            excess += _difference(made_rgb[p], known_rgb[q]) - _difference(known_rgb[q], known_rgb[r])
            places += len(p[0])
    return max(excess / (3 * places), 0.0) if places else float("nan")


def temporal_jump(previous: NDArray[np.uint8], current: NDArray[np.uint8], hole: NDArray[np.bool_]) -> float:
    """Return how much the picture changes from one frame to the next inside the hole: mean absolute difference, in levels.

    `previous` and `current` are uint8 H W 3; `hole` is bool H W, the pixels that were made in both (the two masks joined by
    `&`). The range is 0 .. 255; nan for an empty hole. Raises MaskMismatch when the shapes do not agree.
    """
    _check_shapes(previous, current, hole)
    left, top, width, height = cv2.boundingRect(hole.view(np.uint8))
    if not width:
        return float("nan")
    box = (slice(top, top + height), slice(left, left + width))
    change = cv2.absdiff(previous[box], current[box])
    return float(np.mean(cv2.mean(change, mask=hole[box].astype(np.uint8))[:3]))


def temporal_seam(jumps: Sequence[float], borders: Collection[int], radius: int = RADIUS) -> dict[int, float]:
    """Return for each window border how many levels more the hole changes there than it does in the frames around it.

    `jumps[t]` is the `temporal_jump` from frame t - 1 to frame t (nan where unknown, as at frame 0 and at shot cuts), and
    `borders` names the first frames of windows. What is normal is the median of the jumps within `radius` frames that are no
    border themselves. The range is 0 .. 255, 0 = no more than normal; a border without a jump or without a neighbour to
    compare with is nan.
    """
    values = np.asarray(jumps, dtype=np.float64)
    normal = values.copy()
    normal[[border for border in borders if 0 <= border < len(values)]] = np.nan
    seams = {}
    for border in sorted(borders):
        around = normal[max(border - radius, 0) : border + radius + 1]
        around = around[np.isfinite(around)]
        at_border = values[border] if 0 <= border < len(values) else np.nan
        seams[border] = max(float(at_border - np.median(around)), 0.0) if len(around) and np.isfinite(at_border) else float("nan")
    return seams


Places = tuple[NDArray[np.intp], NDArray[np.intp]]


def _rim(hole: NDArray[np.bool_], down: int, right: int) -> tuple[Places, Places, Places]:
    """Return rows and columns of p (in the hole), q and r (known) of every rim place, walking out by (`down`, `right`)."""
    height, width = hole.shape
    inner_height, inner_width = max(height - 2 * abs(down), 0), max(width - 2 * abs(right), 0)
    top, left = 2 * (down < 0), 2 * (right < 0)

    def moved(steps: int) -> NDArray[np.bool_]:
        row, column = top + steps * down, left + steps * right
        return hole[row : row + inner_height, column : column + inner_width]

    # One flat index and a division: three times as fast as a nonzero in two dimensions on a large, mostly empty rim.
    rows, columns = np.divmod(np.flatnonzero(moved(0) > (moved(1) | moved(2))), inner_width)
    rows, columns = rows + top, columns + left
    return (rows, columns), (rows + down, columns + right), (rows + 2 * down, columns + 2 * right)


def _difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    """Return the sum of the absolute differences of two lists of colours, exactly."""
    return int(cv2.norm(a, b, cv2.NORM_L1))


def _check_shapes(one: NDArray[np.uint8], other: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    if one.shape != other.shape or one.shape[:2] != mask.shape:
        raise MaskMismatch(
            f"a seam is measured on frames and a mask of one size; came {one.shape}, {other.shape} and a mask of {mask.shape}"
        )
