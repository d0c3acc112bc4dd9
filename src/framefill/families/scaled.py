"""A clip that a net works on at a smaller size: its mask made smaller, and what was made, made larger, brought to meet the picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.families.trained import resized
from framefill.motion.completion import membrane

Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W


def shrunk(mask: Mask, height: int, width: int) -> Mask:
    """A mask at a smaller size: a pixel is unknown when any part of it is."""
    if mask.shape[1:] == (height, width):
        return mask
    shares = np.stack([cv2.resize(hole.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) for hole in mask])
    return np.asarray(shares > 0, np.bool_)


def made_smaller(frames: Frames, mask: Mask, height: int, width: int) -> tuple[Frames, Mask]:
    """A clip and its mask (bool T H W) at a smaller size: a pixel is known when half of it is, and shows the known part alone.

    So fine specks do not hide everything, and nothing of what is hidden shows.
    """
    if mask.shape[1:] == (height, width):
        return frames, mask
    small, hidden = np.zeros((len(frames), height, width, 3), np.uint8), np.zeros((len(mask), height, width), np.bool_)
    for number, (frame, hole) in enumerate(zip(frames, mask, strict=True)):
        if not hole.any():
            small[number] = resized(frame[None], height, width)[0]
            continue
        known = (~hole).astype(np.float32)
        seen, share = (
            np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.float32)
            for part in (frame * known[..., None], known)
        )
        small[number] = np.rint(np.clip(seen / np.maximum(share, 0.5)[..., None], 0, 255))
        hidden[number] = share < 0.5
    return small, hidden


def met(made: NDArray[np.uint8], frame: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What was made, H W 3, with the difference at the rim of its hole carried smoothly inwards; a wholly unknown frame as it is."""
    if hole.all() or not hole.any():
        return made
    apart = membrane(frame.astype(np.float32) - made, hole)
    joined: NDArray[np.uint8] = np.rint(np.clip(made + apart, 0, 255)).astype(np.uint8)
    return joined
