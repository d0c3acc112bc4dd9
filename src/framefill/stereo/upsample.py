"""Depth at the frame's size: small maps brought up along the picture's edges, and edges grown so that their rim comes along.

Upsampling by the fast guided filter (He and Sun, arXiv 1505.00996), held within what the small map shows around each pixel. The growing of
edges is that of nagadomi/nunif (iw3), `--edge-dilation`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.stereo.guided import applied, coefficients, guide_of

Depth = NDArray[np.float32]  # H W

RADIUS = 4  # pixels of the small map; this and the next were chosen on six procedural scenes, where 2 to 6 are within 15 % of each other
EPSILON = 1e-4
BINOMIAL = np.array([[21, 31, 21], [31, 48, 31], [21, 31, 21]], np.float32) / 256
MOST_SIGMAS = 3.0


def to_size(depth: Depth, picture: NDArray[np.uint8]) -> Depth:
    """Bring depth h w to the size of a picture uint8 H W 3, its edges to the picture's; float32 H W within the range of `depth`.

    Depth that is as large or larger is averaged down. Raises UsageError for arrays of another kind.
    """
    if depth.ndim != 2 or depth.size == 0 or picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise UsageError(f"depth is {depth.shape}, picture is {picture.dtype} {picture.shape}; expected h w and uint8 H W 3")
    depth = np.ascontiguousarray(depth, np.float32)
    height, width = picture.shape[:2]
    if depth.shape == (height, width):
        return depth.copy()
    if depth.shape[0] >= height and depth.shape[1] >= width:
        return np.asarray(cv2.resize(depth, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    small = guide_of(picture, depth.shape[1], depth.shape[0])
    full = applied(coefficients(small, depth, RADIUS, EPSILON), picture)
    around = np.ones((3, 3), np.uint8)
    low = cv2.resize(cv2.erode(depth, around), (width, height), interpolation=cv2.INTER_LINEAR)
    high = cv2.resize(cv2.dilate(depth, around), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.min(cv2.max(full, low), high), np.float32)


def dilate_edges(depth: Depth, n: int | tuple[int, int]) -> Depth:
    """Grow what is near over its edges, `n` times by about a pixel each; (x, y) grows across and down differently often.

    depth: float32 H W. What is even stays: a pixel changes the more, the more its surroundings vary. Raises UsageError below 0.
    """
    across, down = (n, n) if isinstance(n, int) else n
    if min(across, down) < 0:
        raise UsageError(f"edge dilation {across} {down} was asked for; expected 0 or more each")
    grown = np.asarray(depth, np.float32)
    for step in range(max(across, down)):
        width, height = 3 if step < across else 1, 3 if step < down else 1
        grown = _dilated(grown, np.ones((height, width), np.uint8))
    return grown


def _dilated(depth: Depth, kernel: NDArray[np.uint8]) -> Depth:
    box = np.ones((3, 3), np.uint8)
    varies = cv2.dilate(depth, box) - cv2.erode(depth, box)
    deviation = float(varies.std())
    if deviation == 0:
        return depth
    sigmas = np.clip((varies - varies.mean()) * np.float32(1 / deviation), -MOST_SIGMAS, MOST_SIGMAS)
    share = (sigmas + MOST_SIGMAS) * np.float32(0.5 / MOST_SIGMAS)
    near = cv2.dilate(cv2.filter2D(depth, -1, BINOMIAL, borderType=cv2.BORDER_REPLICATE), kernel)
    return np.asarray(depth + (near - depth) * share, np.float32)
