"""Residual motion: what moves beside the camera, as dense flow on the aligned pair, completed where the picture is unknown.

Dense flow by DIS (Kroeger et al., ECCV 2016). The flow is computed only on rectangles around the holes, on pictures in which
the unknown is filled from the other frame, and inside the hole it is the solution of the Laplace equation (`completion.membrane`) with
the flow outside as boundary; flow that departs from the dominant one is no boundary, so that the background wins over a passer-by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.motion.completion import membrane, pull_push
from framefill.motion.regions import Region, regions_of
from framefill.motion.registration import Matrix, Motion

Grey = NDArray[np.uint8]  # H W
FlowMethod = Callable[[Grey, Grey], NDArray[np.float32]]  # two pictures H W -> flow H W 2, pixels, from the first to the second

MARGIN = 24  # pixels of known picture around a hole in which flow is computed
LARGE = 200_000  # pixels of a rectangle above which flow is computed at half size
QUIET = 3.0  # levels; where 95 % of the aligned surroundings differ by less, nothing moves beside the camera
NO_BETTER, SLACK = 1.15, 0.5  # the flow must beat no flow by this factor and this many levels, else it is noise
MOVES, SHARE = 0.25, 0.15  # where less than this share of the surroundings moves by this many pixels, the background does not
DEPARTS, SPREADS = 1.0, 2.5  # pixels, and median deviations on the rim: flow further from the rim's median is not the background's


@dataclass(frozen=True)
class View:
    """A frame as flow sees it: `grey` uint8 H W, of which `hole` (bool H W) is never read."""

    grey: Grey
    hole: NDArray[np.bool_]


@dataclass(frozen=True)
class Residual:
    """Flow beside the camera's motion on one rectangle: float32 h w 2 in pixels, added before the camera's matrix is applied."""

    region: Region
    flow: NDArray[np.float32]


def dis(first: Grey, second: Grey) -> NDArray[np.float32]:
    """Dense flow by DIS, medium preset, at full size; at half size for large pictures."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = first.shape
    if min(height, width) < 16:
        return np.zeros((height, width, 2), np.float32)
    fresh = np.zeros((0, 0), np.float32)  # not a first guess: one of full size would be refined
    if first.size <= LARGE:
        return np.asarray(method.calc(first, second, fresh), np.float32)
    half = (width + 1) // 2, (height + 1) // 2
    small_first, small_second = (cv2.resize(picture, half, interpolation=cv2.INTER_AREA) for picture in (first, second))
    flow = method.calc(small_first, small_second, fresh)
    scale = np.array([width / half[0], height / half[1]], np.float32)
    return np.asarray(cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * scale, np.float32)


def residuals(first: View, second: View, motion: Motion, method: FlowMethod = dis) -> list[Residual]:
    """Find what moves beside the camera from `first` to `second`, around their holes; an empty list where nothing does."""
    found = []
    for region in regions_of(first.hole | second.hole, MARGIN):
        flow = _residual(first, second, motion.matrix, region, method)
        if flow is not None:
            found.append(Residual(region, flow))
    return found


def _residual(first: View, second: View, matrix: Matrix, region: Region, method: FlowMethod) -> NDArray[np.float32] | None:
    moved = warp_region(second.grey, matrix, region)
    unknown_there = warp_region(second.hole.view(np.uint8) * np.uint8(255), matrix, region, outside=255) > 0
    here, unknown_here = first.grey[region.area], first.hole[region.area]
    unknown = unknown_here | unknown_there
    if unknown.all():
        return None
    rim_unknown = cv2.dilate(unknown.view(np.uint8), np.ones((5, 5), np.uint8)).view(np.bool_)
    difference = cv2.blur(cv2.absdiff(here, moved), (5, 5))[~rim_unknown]
    if not difference.size or np.quantile(difference, 0.95) < QUIET:
        return None
    here = np.where(unknown_here & ~unknown_there, moved, here)
    moved = np.where(unknown_there & ~unknown_here, here, moved)
    if (unknown_here & unknown_there).any():
        both = unknown_here & unknown_there
        smooth = np.rint(np.clip(pull_push(here.astype(np.float32), ~both), 0, 255)).astype(np.uint8)
        here, moved = np.where(both, smooth, here), np.where(both, smooth, moved)
    flow = method(np.ascontiguousarray(here), np.ascontiguousarray(moved))
    _drop_noise(flow, here, moved)
    if np.mean(np.abs(flow[~rim_unknown]).max(1) > MOVES) < SHARE:
        return None
    return membrane(flow, rim_unknown | departing(flow, rim_unknown))


def _drop_noise(flow: NDArray[np.float32], here: Grey, moved: Grey) -> None:
    """Set flow to zero, in place, where it explains the picture hardly better than no flow."""
    height, width = here.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    carried = cv2.remap(moved, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    without = cv2.blur(cv2.absdiff(here, moved).astype(np.float32), (7, 7))
    with_flow = cv2.blur(cv2.absdiff(here, carried).astype(np.float32), (7, 7))
    flow[without < with_flow * NO_BETTER + SLACK] = 0


def departing(flow: NDArray[np.float32], unknown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find flow that departs from what dominates around the hole: something that passes by."""
    near = cv2.dilate(unknown.view(np.uint8), np.ones((15, 15), np.uint8)).view(np.bool_)
    rim = near & ~unknown
    if not rim.any():
        return np.zeros_like(unknown)
    median = np.median(flow[rim], axis=0)
    away = np.abs(flow - median).max(2)
    spread = float(np.median(away[rim]))
    departing: NDArray[np.bool_] = ~unknown & (away > DEPARTS + SPREADS * spread)
    return departing


def warp_region(
    picture: NDArray[np.uint8], matrix: Matrix, region: Region, how: int = cv2.INTER_LINEAR, outside: int | None = None
) -> NDArray[np.uint8]:
    """Bring a picture through `matrix` (from the target to the picture) to a rectangle of the target.

    Beyond the picture's edge: its edge pixels, or the value `outside`. Without motion it is a plain copy, never resampled.
    """
    height, width = picture.shape[:2]
    if np.array_equal(matrix, np.eye(3)) and region.right <= width and region.bottom <= height:
        return picture[region.area]
    shifted = matrix @ np.array([[1, 0, region.left], [0, 1, region.top], [0, 0, 1.0]])
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    value = (0 if outside is None else outside,) * 4
    return np.asarray(
        cv2.warpPerspective(picture, shifted, region.size, flags=how | cv2.WARP_INVERSE_MAP, borderMode=border, borderValue=value), np.uint8
    )
