"""A first guess at what is unknown, from what is known and without a net: what moved goes on as it moved.

A net that is shown the guess has to learn only where it is wrong: what comes into sight, what turns or slows down, light that changes. As
a method of its own it is the baseline `linear` of the evaluation.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.families.flow_between import Meeting, between, meet, whole_flow
from framefill.motion.completion import pull_push

Picture = NDArray[np.uint8]  # H W 3
Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W, True = unknown
FASTEST = 10.0  # pixels of motion beyond which nothing weighs more


def guess(frames: Frames, unknown: Mask) -> Frames:
    """Fill what is `unknown` of a clip uint8 T H W 3, whatever stands there, and return it; a clip without a known pixel becomes black.

    Where two frames are wholly known, their motion is followed to each other frame. Else a pixel is that of the nearest frame that knows
    it, blended between two of them, and what no frame knows continues what is around it.
    """
    made = np.where(unknown[..., None], np.uint8(0), frames)
    if unknown.all() or not unknown.any():
        return made
    whole = np.flatnonzero(~unknown.any((1, 2)))
    meetings: dict[tuple[int, int], Meeting] = {}
    faded = None
    for number in np.flatnonzero(unknown.any((1, 2))):
        picture = _along_motion(frames, whole, int(number), meetings)
        if picture is None:
            faded = _faded(made, ~unknown) if faded is None else faded
            picture = faded[number]
        hole = unknown[number]
        made[number][hole] = picture[hole]
    return made


def go_on(frames: Frames, whole: NDArray[np.intp], number: int) -> Picture | None:
    """Make frame `number` of a clip along the motion between two of the frames `whole` (ascending); None where there are fewer."""
    return _along_motion(frames, whole, number, {})


def _along_motion(frames: Frames, whole: NDArray[np.intp], number: int, meetings: dict[tuple[int, int], Meeting]) -> Picture | None:
    past, future = whole[whole < number][::-1], whole[whole > number]
    if past.size and future.size:
        pair = int(past[0]), int(future[0])
        if pair not in meetings:
            meetings[pair] = meet(frames[pair[0]], frames[pair[1]])
        return between(meetings[pair], (number - pair[0]) / (pair[1] - pair[0]))
    if max(past.size, future.size) < 2:
        return None
    near, far = (int(place) for place in (past if past.size else future)[:2])
    return _carried_on(frames[near], frames[far], (number - near) / (near - far))


def _carried_on(near: Picture, far: Picture, times: float) -> Picture:
    """Carry `near` on by `times` its motion away from `far`; where nothing arrives stands a smooth continuation of what is around."""
    height, width = near.shape[:2]
    motion = -times * whole_flow(*(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8) for picture in (near, far)))
    row, column = np.indices((height, width))
    x, y = column + motion[..., 0], row + motion[..., 1]
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    # What moves more stands before what moves less: most cameras follow nothing.
    importance = np.exp(np.minimum(np.linalg.norm(motion, axis=2), FASTEST))
    total = np.zeros((height * width, 4))
    for across in (0, 1):
        for down in (0, 1):
            share = (1 - np.abs(x - left - across)) * (1 - np.abs(y - top - down))
            inside = (left + across >= 0) & (left + across < width) & (top + down >= 0) & (top + down < height)
            place = ((top + down) * width + left + across)[inside]
            heavy = (share * importance)[inside]
            total += np.stack([np.bincount(place, heavy * values, len(total)) for values in (*near[inside].T.astype(np.float64), 1.0)], 1)
    found = (total[:, 3] > 1e-3).reshape(height, width)
    mean = (total[:, :3] / np.maximum(total[:, 3:], 1e-9)).reshape(height, width, 3).astype(np.float32)
    return np.asarray(np.rint(np.clip(pull_push(mean, found), 0, 255)), np.uint8)


def _faded(frames: Frames, known: Mask) -> Frames:
    """Every pixel from the nearest frames before and after that know it, blended by nearness, and from around where none does."""
    count = len(frames)
    numbers = np.arange(count)[:, None, None]
    before = np.maximum.accumulate(np.where(known, numbers, -1), 0)
    after = np.minimum.accumulate(np.where(known, numbers, count)[::-1], 0)[::-1]
    ever: NDArray[np.bool_] = np.any(known, 0)
    first = np.where(before < 0, after, before) * ever
    second = np.where(after == count, before, after) * ever
    rows, columns = np.indices(frames.shape[1:3])
    later = ((numbers - first) / np.maximum(second - first, 1))[..., None]
    one, other = (frames[places, rows, columns].astype(np.float32) for places in (first, second))
    blend = one + later.clip(0, 1).astype(np.float32) * (other - one)
    if not ever.all():
        blend = np.stack([pull_push(frame, ever) for frame in blend])
    return np.asarray(np.rint(np.clip(blend, 0, 255)), np.uint8)
