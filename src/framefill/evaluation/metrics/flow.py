"""Where each pixel goes from frame to frame, and which pixels can be followed: what the temporal and editing metrics are measured along.

Flow by OpenCV's DIS (Kroeger et al., Fast optical flow using dense inverse search, ECCV 2016), preset medium at full size, unless
another function is passed. Occlusion by the forward-backward check and the motion boundaries of Sundaram, Brox and Keutzer, Dense point
trajectories by GPU-accelerated large displacement optical flow, ECCV 2010, section 3, as Lai et al. 2018 use them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.evaluation.metrics.arrays import Array, Frames, check_range, frames_of

Picture = NDArray[np.uint8]  # H W 3
Field = NDArray[np.float32]  # H W 2: right and down, pixels
FlowMethod = Callable[[Picture, Picture], Field]  # two pictures -> the flow from the first to the second

SMALLEST = 16  # pixels; below, DIS has no level to begin at


@dataclass(frozen=True)
class Motion:
    """A clip's motion: `forward` float32 T-1 H W 2, from frame t to t + 1; `visible` bool T-1 H W, what t + 1 shows too."""

    forward: NDArray[np.float32]
    visible: NDArray[np.bool_]


def dis(first: Picture, second: Picture) -> Field:
    """Return the flow from one picture (uint8 H W 3) to the other by DIS, preset medium, on their luma at full size, in pixels H W 2.

    Raises UsageError for pictures below 16 pixels in width or height.
    """
    height, width = first.shape[:2]
    if min(height, width) < SMALLEST:
        raise UsageError(f"DIS flow needs pictures of {SMALLEST} x {SMALLEST} pixels or more; came {width}x{height}")
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    luma = [np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY), np.uint8) for picture in (first, second)]
    return np.asarray(method.calc(luma[0], luma[1], np.zeros((0, 0), np.float32)), np.float32)


def motion_of(frames: Array, flow: FlowMethod = dis, *, boundaries: bool = True, data_range: float = 255.0) -> Motion:
    """Return the motion of a clip (T H W 3, values in 0 .. data_range) by `flow` in both directions; `boundaries` as in `visible`.

    Raises UsageError for frames of another shape or range.
    """
    pictures = pictures_of(frames, data_range)
    forward = flows(pictures, flow)
    seen = np.empty(forward.shape[:3], np.bool_)
    for index, field in enumerate(forward):
        seen[index] = visible(field, flow(pictures[index + 1], pictures[index]), boundaries=boundaries)
    return Motion(forward, seen)


def flows(pictures: Picture, flow: FlowMethod) -> NDArray[np.float32]:
    """Return the flow from each picture (uint8 T H W 3) to the next, float32 T-1 H W 2."""
    fields = np.empty((len(pictures) - 1, *pictures.shape[1:3], 2), np.float32)
    for index, field in enumerate(fields):
        field[:] = flow(pictures[index], pictures[index + 1])
    return fields


def visible(forward: Field, backward: Field, *, boundaries: bool = True) -> NDArray[np.bool_]:
    """Return which pixels of the first frame the second shows too, bool H W, from the flow there and back (float32 H W 2, pixels).

    With w the flow at x and v the flow back at x + w, a pixel is occluded where |w + v|^2 >= 0.01 (|w|^2 + |v|^2) + 0.5, where x + w
    lies outside the frame, and with `boundaries` where the flow is torn:
    |grad w_x|^2 + |grad w_y|^2 > 0.01 |w|^2 + 0.002, with gradients by central differences.
    """
    height, width = forward.shape[:2]
    x, y = _targets(forward)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    back = carry(backward, forward)
    there, around = _squared(forward), _squared(forward + back)
    seen = inside & (around < 0.01 * (there + _squared(back)) + 0.5)
    if boundaries:
        slopes = sum(_squared(np.asarray(slope)) for slope in np.gradient(forward, axis=(0, 1)))
        seen &= slopes <= 0.01 * there + 0.002
    return np.asarray(seen, np.bool_)


def carry(picture: NDArray[np.float32], forward: Field) -> NDArray[np.float32]:
    """Return the picture (float32 H W C, C <= 4) carried back along the flow: its value at x + forward(x), bilinear, edge repeated."""
    # In float32 OpenCV interpolates exactly; uint8 and float64 pictures it samples at steps of 1/32 pixel.
    x, y = _targets(forward)
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32).reshape(picture.shape)


def pictures_of(frames: Array, data_range: float) -> Picture:
    """Return frames as the uint8 T H W 3 that flow is computed on, rounded. Raises UsageError for other than three channels."""
    values = frames_of(frames)
    if values.shape[-1] != 3:
        raise UsageError(f"flow is computed on frames of 3 channels, RGB; came {values.shape[-1]}")
    check_range(values, data_range)
    return _rounded(values, data_range)


def _rounded(values: Frames, data_range: float) -> Picture:
    if values.dtype == np.uint8 and data_range == 255:
        return values.astype(np.uint8, copy=False)
    levels = np.clip(values.astype(np.float32) * np.float32(255 / data_range), 0, 255)
    return np.asarray(np.rint(levels), np.uint8)


def _targets(forward: Field) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    height, width = forward.shape[:2]
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    return np.add(forward[..., 0], columns, dtype=np.float32), np.add(forward[..., 1], rows, dtype=np.float32)


def _squared(field: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.einsum("hwc,hwc->hw", field, field))
