"""What no frame shows is made once, on one frame, and carried from there: so that invented content stays still."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.families.base import GENERATED, State
from framefill.families.still import StillFill
from framefill.families.work import Work
from framefill.motion.flow import warp_region
from framefill.motion.footage import Footage
from framefill.motion.fusion import match_rim
from framefill.motion.regions import Region, regions_of
from framefill.motion.registration import CUT_ERROR, Look, Matrix, look_at, register

MARGIN = 16  # pixels of surroundings kept with what was made, to match colours on
MOST = 6  # anchors carried from window to window
NEW = 4  # rounds in which anchors are made in one window; what they leave is filled frame by frame


@dataclass(frozen=True)
class Anchor:
    """Made pixels on a rectangle of some frame: `picture` uint8 h w 3, `made` uint8 h w (255 = made there).

    `matrix` is the camera's motion from that frame to the place `seen_at` in the footage.
    """

    region: Region
    picture: NDArray[np.uint8]
    made: NDArray[np.uint8]
    matrix: Matrix
    seen_at: int


class Anchors:
    """The anchors of a clip so far."""

    def __init__(self, anchors: list[Anchor]) -> None:
        self._anchors = anchors
        self._used: set[int] = set()

    @classmethod
    def load(cls, state: State | None, first: int, looks: list[Look]) -> Anchors:
        """Take the anchors out of a state; `first` is the clip index of the footage's first frame, `looks` its frames for registration."""
        if state is None or "anchor_regions" not in state:
            return cls([])
        reference = int(state["anchor_reference"][0]) - first
        motion: Matrix = np.eye(3)
        if reference < 0:
            # Frames without a hole lay between: the reference is found again in the first frame at hand.
            picture = np.asarray(state["anchor_picture"], np.uint8)
            hole = np.unpackbits(np.asarray(state["anchor_hole"], np.uint8), axis=1, count=picture.shape[1]).view(np.bool_)
            found = register(look_at(picture, hole), looks[0])
            if found.cut or found.error > CUT_ERROR / 2:
                return cls([])
            reference, motion = 0, found.matrix
        anchors = [
            Anchor(
                Region(*(int(side) for side in region)),
                np.asarray(state[f"anchor_{number}_picture"], np.uint8),
                np.asarray(state[f"anchor_{number}_made"], np.uint8),
                motion @ np.asarray(matrix, np.float64),
                reference,
            )
            for number, (region, matrix) in enumerate(zip(state["anchor_regions"], state["anchor_matrices"], strict=True))
        ]
        return cls(anchors)

    def fill(self, work: Work, still: StillFill) -> None:
        """Fill what is left of a window from the anchors, oldest first; where they do not reach, `still` makes new ones."""
        for number in range(len(self._anchors)):
            self._carry(number, work)
        for _ in range(NEW):
            sizes = work.left.sum((1, 2))
            key = int(sizes.argmax())
            if not sizes[key]:
                return
            for region in regions_of(work.left[key], max(MARGIN, still.context)):
                self._make(key, region, work, still)
        for number, left in enumerate(work.left):
            for region in regions_of(left, max(MARGIN, still.context)):
                _fill_still(number, region, work, still)

    def keep(self, last: int, footage: Footage, first: int) -> State:
        """Return the state: the anchors used in this window, seen from its `last` frame."""
        used = [self._anchors[number] for number in sorted(self._used)]
        onward = [footage.matrix(anchor.seen_at, last) for anchor in used]
        kept = [(anchor, matrix) for anchor, matrix in zip(used, onward, strict=True) if matrix is not None][-MOST:]
        if not kept:
            return {}
        state: State = {
            "anchor_reference": np.array([first + last]),
            "anchor_picture": footage.frames[last].copy(),
            "anchor_hole": np.packbits(footage.blocked[last] > 0, axis=1),
            "anchor_regions": np.array([[a.region.left, a.region.top, a.region.right, a.region.bottom] for a, _ in kept]),
            "anchor_matrices": np.stack([matrix @ anchor.matrix for anchor, matrix in kept]),
        }
        for number, (anchor, _) in enumerate(kept):
            state[f"anchor_{number}_picture"], state[f"anchor_{number}_made"] = anchor.picture, anchor.made
        return state

    def _make(self, key: int, region: Region, work: Work, still: StillFill) -> None:
        """Make an anchor on one frame and carry it to the others."""
        made = work.hole(key, region).astype(np.uint8) * np.uint8(255)
        _fill_still(key, region, work, still)
        self._anchors.append(Anchor(region, work.picture(key, region).copy(), made, np.eye(3), work.window[key]))
        number = len(self._anchors) - 1
        self._used.add(number)
        self._carry(number, work)

    def _carry(self, number: int, work: Work) -> None:
        """Bring one anchor's pixels to all frames of the window that lack them."""
        anchor = self._anchors[number]
        back = np.linalg.inv(anchor.matrix)
        for frame, place in enumerate(work.window):
            if not work.left[frame].any():
                continue
            onward = work.footage.matrix(place, anchor.seen_at)
            if onward is None:
                continue
            matrix = back @ onward
            matrix = np.eye(3) if np.allclose(matrix, np.eye(3), atol=1e-9) else matrix / matrix[2, 2]
            for region in regions_of(work.left[frame], MARGIN):
                if _paste(anchor, matrix, frame, region, work):
                    self._used.add(number)


def _fill_still(number: int, region: Region, work: Work, still: StillFill) -> None:
    hole = work.hole(number, region).copy()
    work.settle(number, region, hole, still(np.ascontiguousarray(work.picture(number, region)), hole), GENERATED)


def _paste(anchor: Anchor, matrix: Matrix, number: int, region: Region, work: Work) -> bool:
    """Bring an anchor's pixels through `matrix` to one rectangle of a frame, matched in colour; tell whether any came."""
    to_anchor = np.array([[1, 0, -anchor.region.left], [0, 1, -anchor.region.top], [0, 0, 1.0]]) @ matrix
    hole = work.hole(number, region)
    # Also where a made and a known pixel are mixed: else a seam one pixel wide would be left, and made anew in each frame.
    usable = (warp_region(anchor.made, to_anchor, region, outside=0) > 0) & hole
    if not usable.any():
        return False
    shown = warp_region(np.full_like(anchor.made, 255), to_anchor, region, outside=0) == 255
    brought = warp_region(anchor.picture, to_anchor, region, cv2.INTER_CUBIC).astype(np.float32)
    # What was made up has no claim against what is there: it follows every step at the rim, else its outline would show.
    matched = match_rim(brought, shown, work.picture(number, region), ~hole, cap=np.inf)
    work.settle(number, region, usable, matched, GENERATED)
    return True
