"""What is at a pixel most of the time where the camera stands: a passer-by may fill the frames nearest to a hole, not most of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framefill.motion.footage import Footage
from framefill.motion.sources import Target

FRAMES = 21  # looked at, spread over the reach
LEAST = 5  # of which so many must know a pixel: a median of fewer is whoever passes


@dataclass(frozen=True)
class Median:
    """The temporal median at a target's points: `colours` uint8 N 3, where `known` (bool N) enough frames show them."""

    colours: NDArray[np.uint8]
    known: NDArray[np.bool_]


def median_of(footage: Footage, target: Target, reach: int) -> Median | None:
    """Return the median over the frames within `reach` on both sides between which the camera does not move at all; None for too few."""
    still = [index for direction in (-1, 1) for index in _still(footage, target.index, direction, reach)]
    if len(still) < LEAST:
        return None
    chosen = [still[place] for place in np.unique(np.linspace(0, len(still) - 1, FRAMES).round().astype(int))]
    columns, rows = target.points.astype(np.intp).T
    samples = np.stack([footage.frames[index][rows, columns] for index in chosen]).astype(np.uint16)  # s n 3
    unknown = np.stack([footage.blocked[index][rows, columns] > 0 for index in chosen])
    samples[unknown] = 256  # behind every colour
    samples.sort(axis=0)
    count = len(chosen) - np.count_nonzero(unknown, axis=0)
    middle = np.take_along_axis(samples, (np.maximum(count - 1, 0) // 2)[None, :, None], axis=0)[0]
    known = count >= LEAST
    return Median(np.where(known[:, None], middle, 0).astype(np.uint8), known)


def _still(footage: Footage, start: int, direction: int, reach: int) -> list[int]:
    found = []
    for index, step, _ in footage.steps(start, direction, reach):
        if not np.array_equal(step, np.eye(3)):
            break
        found.append(index)
    return found if direction > 0 else found[::-1]
