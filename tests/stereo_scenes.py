"""Scenes whose second eye is known, as the warps take them, and what of them two eyes do not share, found by trying all pairs of pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framefill.media.synthetic import make_scene

Depth = NDArray[np.float32]  # H W
Picture = NDArray[np.uint8]  # H W 3
Hole = NDArray[np.bool_]  # H W


@dataclass(frozen=True)
class TwoEyes:
    """`left` is a picture with depth 0..1, `right` what the other eye truly sees: with `divergence`, convergence 0, and the left as source.

    `make_scene` says that what stands at x stands at x - disparity for its other eye. That is a right eye at convergence 0 whose largest
    shift, divergence / 100 * longer side / 2, is the largest disparity. disparity: H W, pixels.
    """

    left: Picture
    right: Picture
    depth: Depth
    divergence: float
    disparity: Depth


def two_eyes(seed: int, H: int, W: int) -> TwoEyes:
    scene = make_scene(np.random.default_rng(seed), 1, H, W, 0)
    disparity = scene.disparity[0]
    most = float(disparity.max())
    depth = (disparity / np.float32(most)).astype(np.float32)
    return TwoEyes(scene.frames[0], scene.other_eye[0], depth, 200 * most / max(H, W), disparity)


def rectangle(H: int = 40, W: int = 120, left: int = 40, right: int = 70) -> Depth:
    """Something at depth 1 in rows 10 to 29 and columns `left` to `right` - 1, before all else at depth 0."""
    depth = np.zeros((H, W), np.float32)
    depth[10:30, left:right] = 1
    return depth


def opened(disparity: Depth) -> Hole:
    """Pixels of the right eye on which nothing lands that the left eye sees, within what the left eye's picture spans."""
    land, place = np.arange(disparity.shape[1]) - disparity, np.arange(disparity.shape[1])
    rows = []
    for row in land:
        nearest = np.abs(row[None, :] - place[:, None]).min(axis=1)
        rows.append((nearest > 0.75) & (place >= row[0]) & (place <= row[-1]))
    return np.stack(rows)


def hidden(disparity: Depth) -> Hole:
    """Pixels of the left eye that in the right eye stand behind another, nearer one of its pixels."""
    land = np.arange(disparity.shape[1]) - disparity
    rows = []
    for row, near in zip(land, disparity, strict=True):
        rows.append(((np.abs(row[None, :] - row[:, None]) <= 0.5) & (near[None, :] > near[:, None] + 1)).any(axis=1))
    return np.stack(rows)
