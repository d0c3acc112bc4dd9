"""What a net has made at its own size, brought to the picture's: the net says what is where, the known frames say how it looks from near.

The fine detail of a new frame, which a small net never sees, is that of `families.guess` at full size, where the guess made small agrees
with what the net has made. Elsewhere the net's picture is enlarged, and soft.

PSNR of new frames of the packaged samples, in dB, had the net made the truth at 32 pixels: enlarged, brought to size so, the guess alone.

                    4 predicted from 4       every 2nd between
    city 640x360    15.5   25.7   25.6       15.5   38.2   38.0
    vtest 768x576   20.6   27.0   23.0       20.6   32.3   31.3
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.families.guess import guess
from framefill.families.trained import Frames, resized

AGREES = 20.0  # levels apart at the net's size, at which the guess's detail counts 1/e


def larger(made: Frames, frames: Frames, unknown: NDArray[np.bool_]) -> Frames:
    """Bring frames `made` (uint8 T h w 3, a net's size) to the size of `frames` (uint8 T H W 3); those not `unknown` (T) stay as they are.

    What stands in the unknown ones of `frames` is not looked at. Where none is known, and where the sizes are the same, nothing is added.
    """
    height, width = frames.shape[1:3]
    out = np.where(unknown[:, None, None, None], np.uint8(0), frames)
    new = np.flatnonzero(unknown)
    if made.shape == frames.shape or unknown.all():
        out[new] = resized(made[new], height, width)
        return out
    guessed = guess(frames, np.broadcast_to(unknown[:, None, None], frames.shape[:3]))
    for place in new:
        out[place] = _joined(made[place], guessed[place])
    return out


def each_larger(windows: Iterable[Frames], near: Frames, *, backward: bool = False) -> Iterator[Frames]:
    """Bring windows of new frames, one following the other (`backward`: preceding), to the size of the known ones `near`, the nearest few.

    Every window takes its detail from the two frames before it, known or made.
    """
    near = near[:2] if backward else near[-2:]
    for window in windows:
        blank = np.zeros((len(window), *near.shape[1:]), np.uint8)
        unknown = np.repeat([backward, not backward], [len(window), len(near)] if backward else [len(near), len(window)])
        shown = resized(near, *window.shape[1:3])
        parts = ((window, shown), (blank, near)) if backward else ((shown, window), (near, blank))
        whole = larger(np.concatenate(parts[0]), np.concatenate(parts[1]), unknown)
        yield whole[: len(window)] if backward else whole[len(near) :]
        near = whole[:2] if backward else whole[-2:]


def _joined(made: NDArray[np.uint8], guessed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The net's picture h w 3 at the size of the guess H W 3, with the guess's detail where the two agree."""
    height, width = guessed.shape[:2]
    small = resized(guessed[None], *made.shape[:2])[0].astype(np.float32)
    apart = cv2.GaussianBlur(np.abs(made - small).mean(2), (0, 0), 1.0)
    trust = cv2.resize(np.exp(-((apart / AGREES) ** 2)), (width, height), interpolation=cv2.INTER_LINEAR)
    # One enlargement of the difference: where the net agrees altogether, the guess stands as it is.
    there = np.asarray(cv2.resize(made - small, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    soft = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    joined = soft + there + trust[..., None] * (guessed - soft)
    return np.asarray(np.rint(np.clip(joined, 0, 255)), np.uint8)
