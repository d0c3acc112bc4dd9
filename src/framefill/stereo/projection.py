"""Where holes would open if another eye's view of a frame were moved back onto it: masks for training from ordinary video.

The frame is taken for a right eye's. Its depth is moved to the left eye, what is missing there is filled with background, and an empty
picture is moved back by that depth. What is not reached was hidden from the left eye: it lies on the background, at the right of a thing
in front of it, and the frame itself shows what belongs there (double projection; nunif/iw3, DreamStereo arXiv 2604.12270).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.stereo.dilation import close, without_specks
from framefill.stereo.edges import steep
from framefill.stereo.geometry import Depth, Hole, as_right, base_of, reach, shift
from framefill.stereo.surface import HALF, Shifts, bands, drop_layered, fill_holes, fill_strips, moved, seen

Method = Literal["backward", "forward"]
CLOSING: dict[str, int] = {"backward": 1, "forward": 2}  # as nunif/iw3's generator does it


def projected_hole(
    depth01: Depth,
    divergence: float,
    convergence: float,
    method: Method = "backward",
    *,
    base: int | None = None,
    closing: int | None = None,
) -> Hole:
    """What another eye cannot see of a frame with this depth, bool H W, holes at the right of near things; mirror in and out for the left.

    depth01: float32 H W in 0..1, 1 = near. divergence in percent of `base` pixels (None: the longer side), convergence in 0..1: the
    holes are those that a view by `backward` or `forward` with the same values has, so no doubling for a single eye. method: forward
    draws both views, pixel by pixel; backward knows without drawing what a monotone map there and back loses, to a fraction of a pixel
    and in a fifth of the time. closing: see `dilation.close`; None: 1 for backward, 2 for forward. Raises UsageError for other values.
    """
    if method not in CLOSING:
        raise UsageError(f"unknown method of projection '{method}'; expected {' or '.join(CLOSING)}")
    base = base or base_of(*depth01.shape)
    rim = reach(divergence, convergence, base) + 1
    shifts = shift(depth01, divergence, convergence, base)
    hole = np.empty(shifts.shape, np.bool_)
    for rows in bands(*shifts.shape):
        steeper = steep(shifts[rows])
        hole[rows] = _covered(steeper) if method == "backward" else _lost(steeper, rim)
    return close(without_specks(hole), CLOSING[method] if closing is None else closing)


def _covered(shifts: Shifts) -> Hole:
    """What in the left eye's view stands further left than something that is left of it here: a map that keeps the order loses it."""
    places = np.arange(shifts.shape[1], dtype=np.float32) + shifts
    furthest: NDArray[np.float32] = np.maximum.accumulate(places[:, :-1], axis=1)
    behind = places[:, 1:] < furthest
    hole = np.zeros(shifts.shape, np.bool_)
    hole[:, 1:] = behind
    # What covers ends half a pixel beyond its last pixel's middle.
    hole[:, 2:] |= behind[:, :-1] & (places[:, 2:] < furthest[:, 1:] + HALF)
    return hole


def _lost(shifts: Shifts, rim: int) -> Hole:
    """What nothing reaches in a view drawn from the left eye's view."""
    places = moved(_other_eye(shifts, rim)) - np.float32(rim)
    source = seen(places, shifts.shape[1])
    drop_layered(source)
    return source < 0


def _other_eye(shifts: Shifts, rim: int) -> Shifts:
    """The shifts H W of a right eye's frame, as the left eye has them: H W + 2 rim, so that nothing leaves the picture on its way there."""
    mirrored = np.ascontiguousarray(as_right(shifts, "left"))
    places = moved(mirrored) + np.float32(rim)
    source = seen(places, mirrored.shape[1] + 2 * rim)
    drop_layered(source)
    empty = np.nonzero(source < 0)
    fill_strips(source, places)
    fill_holes(source)
    # What is seen at t came from p = t + s: the shift needs no second reading, and takes it back to p exactly.
    found = source - (np.arange(source.shape[1], dtype=np.float32) - np.float32(rim))
    found[empty] = mirrored[empty[0], np.minimum(np.rint(source[empty]), mirrored.shape[1] - 1).astype(np.int64)]
    return np.ascontiguousarray(as_right(found, "left"))
