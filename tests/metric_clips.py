"""Clips with a known error, motion or region, for the tests of the metrics."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Clip = NDArray[np.uint8]  # T H W 3
Hole = NDArray[np.bool_]  # T H W


def noise(frames: int = 3, height: int = 40, width: int = 56, seed: int = 0, low: int = 0, high: int = 256) -> Clip:
    return np.random.default_rng(seed).integers(low, high, (frames, height, width, 3), dtype=np.uint8)


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture with structure at several scales, H W 3."""
    generator = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(generator.normal(0, 60 * sigma, (height, width, 3)), (0, 0), sigma) for sigma in (1.5, 4, 12)]
    return np.clip(128 + np.sum(layers, axis=0) / 2, 0, 255).astype(np.uint8)


def panning(frames: int = 5, height: int = 64, width: int = 96, right: int = 2, down: int = 0, seed: int = 0) -> Clip:
    """What a camera sees: the scene moves by (`right`, `down`) whole pixels a frame, new scene comes in at the edge."""
    margin = (frames - 1) * max(abs(right), abs(down))
    scene = picture(height + 2 * margin, width + 2 * margin, seed)
    corners = [(margin - t * down, margin - t * right) for t in range(frames)]
    return np.stack([scene[top : top + height, left : left + width] for top, left in corners])


def box(frames: int, height: int, width: int, rows: slice, columns: slice) -> Hole:
    hole = np.zeros((frames, height, width), bool)
    hole[:, rows, columns] = True
    return hole
