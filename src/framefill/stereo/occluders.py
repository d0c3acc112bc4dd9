"""What stands before the holes of a view: to be hidden from whoever looks for a hole's background in other frames.

A hole moves with the thing that tore away from its background, not with the background; whoever completes the motion around a hole from
all of its rim carries that thing into it. Without the thing, only background is left around the hole. Holes whose background is itself
such a thing for another hole are told apart: what is behind everything is not what belongs into them.

Only right eyes are known here, see `geometry.as_right`: what tore away stands at a hole's left.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.stereo.geometry import Hole

Levels = NDArray[np.uint8]  # h w

LEVELS = 24  # at which things are told from what is behind them
LEAST = 3  # levels of 255 by which what stands before a hole must be nearer than what is behind it
ASIDE = 2  # pixels from a hole's border at which depth is looked up: right at it lie mixed ones
FAR = 1 / 5  # of the longer side: what is farther from all holes is not hidden, since there is more to find around it than to spoil
RIM = 3  # pixels around a thing that are hidden with it


@dataclass(frozen=True)
class Occluders:
    """`hidden` bool H W: the holes, what stands before them, and a rim around both, in which colours of the two sides are mixed.

    `layered` bool H W: holes whose background is hidden too.
    """

    hidden: Hole
    layered: Hole


def occluders(hole: Hole, depth: Levels) -> Occluders:
    """Find what stands before the holes of a view.

    hole: bool H W of a right eye. depth: uint8 h w, the same eye's depth, larger = nearer, at its size or smaller.
    """
    rows, start, stop = runs(hole)
    (H, W), (h, w) = hole.shape, depth.shape
    row = rows * h // H
    before, behind = np.maximum(start - 1 - ASIDE, 0) * w // W, np.minimum(stop + ASIDE, W - 1) * w // W
    near, far = depth[row, before].astype(np.int32), depth[row, behind].astype(np.int32)
    torn = near >= far + LEAST
    things = _things(depth, row[torn], before[torn], ((near + far)[torn] // 2, (2 * near - far)[torn]))
    things &= _around(row[torn], before[torn], depth.shape)
    rim = 2 * (RIM + W // w - 1) + 1
    whole = cv2.resize(things, (W, H), interpolation=cv2.INTER_NEAREST) | hole.view(np.uint8)
    hidden = np.asarray(cv2.dilate(whole, np.ones((rim, rim), np.uint8))).view(np.bool_)
    layered = np.zeros((H, W + 1), np.int32)
    inside = things[row, behind] > 0
    layered[rows[inside], start[inside]] = 1
    layered[rows[inside], stop[inside]] = -1
    return Occluders(hidden, np.cumsum(layered[:, :W], axis=1) > 0)


def runs(hole: Hole) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Every stretch of holes along a row as row, first column and column behind it; none that touches a side of the picture."""
    step = np.diff(np.pad(hole.view(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, start = np.nonzero(step == 1)
    _, stop = np.nonzero(step == -1)
    torn = (start > 0) & (stop < hole.shape[1])
    return rows[torn], start[torn], stop[torn]


def _things(
    depth: Levels, rows: NDArray[np.intp], columns: NDArray[np.intp], between: tuple[NDArray[np.int32], NDArray[np.int32]]
) -> NDArray[np.uint8]:
    """All that hangs together with one of the places and is everywhere `between` that place's farthest and nearest; uint8 h w, 0 or 1.

    The nearest keeps the ground before a thing, which hangs together with its feet, out of it.
    """
    things = np.zeros(depth.shape, np.uint8)
    step = -(-256 // LEVELS)
    levels = between[0] // step * LEVELS + np.minimum(between[1] // step, LEVELS - 1)
    for level in np.unique(levels):
        far, near = level // LEVELS * step + step // 2, (level % LEVELS + 1) * step
        _, labels = cv2.connectedComponents(((depth > far) & (depth < near)).view(np.uint8), connectivity=4)
        found = np.unique(labels[rows[levels == level], columns[levels == level]])
        things |= np.isin(labels, found[found > 0]).view(np.uint8)
    return things


def _around(rows: NDArray[np.intp], columns: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """What is not far from one of the places, uint8 h w, 0 or 1."""
    near = np.zeros(shape, np.uint8)
    near[rows, columns] = 1
    far = 2 * round(max(shape) * FAR) + 1
    return np.asarray(cv2.dilate(near, np.ones((far, far), np.uint8)), np.uint8)
