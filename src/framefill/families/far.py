"""A bounded store of far key frames: what was seen long ago, beyond the reach of a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framefill.families.base import State
from framefill.motion.footage import Footage
from framefill.motion.registration import CUT_ERROR, Look, look_at, recognise, register
from framefill.motion.sources import KeyFrame

MOST = 6  # key frames kept
FITS = 0.65  # share of the error at which a cut is suspected, up to which a far frame is believed to show the same place


@dataclass(frozen=True)
class FarFrames:
    """Key frames by clip index: pictures uint8 N H W 3 and widened holes uint8 N H W (255 = unknown)."""

    indices: list[int]
    pictures: list[NDArray[np.uint8]]
    blocked: list[NDArray[np.uint8]]

    @classmethod
    def load(cls, state: State | None) -> FarFrames:
        """Take the store out of a state."""
        if state is None or "far_indices" not in state:
            return cls([], [], [])
        pictures = list(np.asarray(state["far_pictures"], np.uint8))
        width = pictures[0].shape[1]
        packed = np.asarray(state["far_blocked"], np.uint8)
        blocked = list(np.unpackbits(packed, axis=2, count=width) * np.uint8(255))
        return cls([int(index) for index in state["far_indices"].tolist()], pictures, blocked)

    def seen_from(self, frame: int, footage: Footage, looks: list[Look], first: int) -> list[KeyFrame]:
        """Register the stored frames to the footage's frame `frame`; those that show another place are left out.

        `looks` are the footage's frames as registration sees them, `first` is the clip index of its first frame.
        """
        found = []
        for index, picture, blocked in zip(self.indices, self.pictures, self.blocked, strict=True):
            look = look_at(picture, blocked > 0)
            motion = register(looks[frame], look)
            if motion.error >= CUT_ERROR * FITS:
                motion = register(looks[frame], look, recognise(looks[frame], look))
            if motion.error < CUT_ERROR * FITS:
                found.append(KeyFrame(picture, blocked, motion.matrix, frame, first + frame - index))
        return found

    def keep(self, index: int, picture: NDArray[np.uint8], blocked: NDArray[np.uint8], apart: int) -> State:
        """Return the state with the frame `index` added if the last one is `apart` frames away; old ones are thinned out."""
        indices, pictures, holes = list(self.indices), list(self.pictures), list(self.blocked)
        if not indices or index - indices[-1] >= apart:
            indices, pictures, holes = [*indices, index], [*pictures, picture.copy()], [*holes, blocked]
        if len(indices) > MOST:
            # The one whose neighbours are closest for its age goes: distances grow into the past.
            spans = [(indices[i + 1] - indices[i - 1]) / (index - indices[i] + apart) for i in range(1, len(indices) - 1)]
            gone = 1 + int(np.argmin(spans))
            del indices[gone], pictures[gone], holes[gone]
        return {
            "far_indices": np.array(indices),
            "far_pictures": np.stack(pictures),
            "far_blocked": np.packbits(np.stack(holes) > 0, axis=2),
        }
