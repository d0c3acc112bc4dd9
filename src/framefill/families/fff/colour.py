"""What an autoencoder does to the colours of a clip, undone by what it did to the pixels that are known."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W
RIM = 24  # pixels around a hole that tell its colours
LEAST_PIXELS = 64  # known ones, below which nothing is told
GAINS = (0.8, 1.25)  # a fit beyond is no drift but another picture


def colours_matched(made: Frames, known: Frames, hole: Mask) -> Frames:
    """Bring the colours of `made` (uint8 T H W 3) to those of `known` around its `hole` (bool T H W), in which `known` is not looked at.

    One gain for each colour of the clip and one offset for each of a frame, by least squares on the known pixels near the hole: drift is
    slow, and a gain for every frame would flicker. Frames without enough known pixels near their hole take the clip's offset.
    """
    near = np.stack([_rim(one) for one in hole])
    if near.sum() < LEAST_PIXELS:
        return made
    out = np.empty_like(made)
    for channel in range(3):
        given, wanted = (part[..., channel].astype(np.float32) for part in (made, known))
        mean, aim = given[near].mean(), wanted[near].mean()
        apart = given[near] - mean
        gain = float(np.clip((apart * (wanted[near] - aim)).mean() / max(float((apart**2).mean()), 1e-6), *GAINS))
        for number, rim in enumerate(near):
            local = rim.sum() >= LEAST_PIXELS
            offset = (wanted[number][rim].mean() - gain * given[number][rim].mean()) if local else aim - gain * mean
            out[number, ..., channel] = np.rint(np.clip(gain * given[number] + offset, 0, 255))
    return out


def _rim(hole: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Known pixels near a hole, bool H W; none for a frame without one."""
    if hole.all() or not hole.any():
        return np.zeros_like(hole)
    far = np.asarray(cv2.distanceTransform(hole.view(np.uint8) ^ np.uint8(1), cv2.DIST_L2, 3), np.float32)
    return np.asarray(~hole & (far <= RIM), np.bool_)
