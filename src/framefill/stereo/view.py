"""What both warps share: from where the pixels of a picture go to the view that an eye has, and its holes."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from framefill.errors import UsageError
from framefill.stereo.dilation import close, without_specks
from framefill.stereo.edges import steep
from framefill.stereo.geometry import Border, Depth, Eye, Hole, Picture, View, as_right, base_of, reach, shift
from framefill.stereo.surface import Fill, Shifts, Sources, bands, drop_layered, fill_holes, fill_strips, in_order, moved, seen

Order = Literal["kept", "free", "dropped"]


def draw(
    picture: Picture,
    depth01: Depth,
    divergence: float,
    convergence: float,
    eye: Eye,
    *,
    fill: Fill,
    closing: int,
    border: Border,
    order: Order,
) -> View:
    """One eye's view: where every row's pixels go, what is seen at each column, holes filled; see `backward` and `forward`.

    order: what becomes of things that would change places along a row: kept in order, seen from the other side, or dropped there.
    """
    _check(picture, depth01)
    H, W = depth01.shape
    base = base_of(H, W)
    room = reach(divergence, convergence, base) + 1  # what fills a hole at the right border may stand beyond it
    shifts = as_right(shift(depth01, divergence, convergence, base), eye)
    facing = _facing(picture, eye)
    shown, hole = np.empty_like(facing), np.empty((H, W), np.bool_)
    for rows in bands(H, W):
        source, hole[rows] = _sources(np.ascontiguousarray(shifts[rows]), room, fill, border, order)
        _resample(facing, source, rows, shown)
    hole = close(without_specks(hole), closing)
    return View(_facing(shown, eye), np.ascontiguousarray(as_right(hole, eye)))


def _sources(shifts: Shifts, room: int, fill: Fill, border: Border, order: Order) -> tuple[Sources, Hole]:
    """What each pixel of a right eye's rows shows, and where that is made up; `room`: columns beyond the right border to look at."""
    W = shifts.shape[1]
    places = moved(steep(shifts))
    if order == "kept":
        places = in_order(places)
    source = seen(places, W + room)
    if order == "dropped":
        drop_layered(source)
    torn = source[:, :W] < 0
    fill_strips(source, places)
    hole = torn if border == "hole" else source[:, :W] < 0
    fill_holes(source, fill)
    return np.ascontiguousarray(source[:, :W]), hole


def _facing(picture: Picture, eye: Eye) -> Picture:
    """Mirror for the left eye, as `as_right` does: OpenCV copies a mirrored picture forty times as fast as numpy."""
    return picture if eye == "right" else np.asarray(cv2.flip(picture, 1), np.uint8)


def _resample(picture: Picture, source: Sources, rows: slice, out: Picture) -> None:
    """Write these rows of the view: of each row of the picture, the columns that `source` says."""
    down = np.repeat(np.arange(rows.start, rows.start + len(source), dtype=np.float32)[:, None], source.shape[1], axis=1)
    out[rows] = cv2.remap(picture, source, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _check(picture: Picture, depth01: Depth) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise UsageError(f"picture is {picture.dtype} {picture.shape}, expected uint8 H W 3; convert it first")
    if depth01.shape != picture.shape[:2]:
        came, wanted = ("x".join(str(side) for side in shape[::-1]) for shape in (depth01.shape, picture.shape[:2]))
        raise UsageError(f"depth is {came}, picture is {wanted}; bring the depth to the picture's size with stereo.upsample.to_size")
