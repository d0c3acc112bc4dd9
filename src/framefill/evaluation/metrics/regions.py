"""Which pixels a metric counts: the whole frame, the hole, what lies outside it, or the rim where the two meet."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from framefill.errors import MaskMismatch, UsageError
from framefill.evaluation.metrics.arrays import Array, Region, frames_of, numpy_of, region_of
from framefill.media.mask_morphology import dilate, erode

Name = Literal["whole", "hole", "outside", "rim"]


def region(mask: Array, name: Name, rim: int = 8) -> Region | None:
    """Return the pixels that `name` stands for under a mask (bool T H W, True = hole), bool T H W; None for the whole frame.

    `hole` is the mask and `outside` the rest. `rim` are the pixels of both sides that lie within `rim` pixels (Euclid, centre to
    centre) of a pixel of the other side: every known pixel beside the hole and every made pixel beside the known is at distance
    1. The frame's edge is no border of the hole; a frame without hole, or that is all hole, has no rim.
    Raises UsageError for another name or a rim below one pixel, MaskMismatch for a mask that is not bool T H W.
    """
    hole = numpy_of(mask)
    if hole.dtype != np.bool_ or hole.ndim != 3:
        raise MaskMismatch(f"a mask is bool T x H x W, True = hole; came {hole.dtype} with {hole.ndim} dimensions")
    holes = hole.astype(np.bool_, copy=False)
    if name == "whole":
        return None
    if name == "hole":
        return holes
    if name == "outside":
        return ~holes
    if name != "rim":
        raise UsageError(f"no region is called {name!r}; there are {', '.join(get_args(Name))}")
    if rim < 1:
        raise UsageError(f"a rim is at least 1 pixel wide; came {rim}")
    return _rims(holes, rim)


def means_over(maps: Array, where: Array | None = None) -> NDArray[np.float64]:
    """Return the mean of each map (N H W, such as LPIPS' distance at every pixel) over the region (bool N H W); nan without its pixels.

    Raises UsageError for maps that are not N H W, MaskMismatch for a region that does not fit them.
    """
    planes = numpy_of(maps)
    if planes.ndim != 3:
        raise UsageError(f"maps come as N x H x W; came {planes.ndim} dimensions")
    counted = region_of(where, frames_of(planes[..., None]))
    values = np.full(len(planes), np.nan)
    for index, plane in enumerate(planes.astype(np.float64)):
        chosen = plane if counted is None else plane[counted[index]]
        if chosen.size:
            values[index] = chosen.mean()
    return values


def _rims(holes: Region, width: int) -> Region:
    rims = np.empty_like(holes)
    for index, hole in enumerate(holes):
        # Masks often stand still, and a rim costs a millisecond a frame.
        rims[index] = rims[index - 1] if index and np.array_equal(hole, holes[index - 1]) else _rim(hole, width)
    return rims


def _rim(hole: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    return dilate(hole, width) & ~erode(hole, width)
