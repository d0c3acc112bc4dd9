"""How far a pixel of some depth moves from the middle picture to an eye, and what a warp hands back.

Depth is float32 in [0, 1] with 1 = near, linear in disparity. `divergence` is the distance of the eyes in percent of the picture's
longer side, `convergence` the depth that stands on the screen. A pixel moves by s = (z - convergence) * divergence / 100 * base / 2:
to +s for the left eye, to -s for the right, so that near things stand further left in the right eye and a hole opens at their right.

All work is done for the right eye. The left eye is the right eye of the mirrored picture, mirrored back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError

Eye = Literal["left", "right"]
Depth = NDArray[np.float32]  # H W in [0, 1], 1 = near
Picture = NDArray[np.uint8]  # H W 3
Hole = NDArray[np.bool_]  # H W, True = nothing was there to show
Border = Literal["stretch", "hole"]

LEEWAY = 1e-4  # by which depth may leave 0..1: rounding
MOST_DIVERGENCE = 100.0  # percent; half of it moves the nearest pixel by a quarter of the picture

Array = TypeVar("Array", bound=np.generic)


@dataclass(frozen=True)
class View:
    """What one eye sees: `picture` uint8 H W 3, holes filled with what stands behind them, and `hole` bool H W, True = made up."""

    picture: Picture
    hole: Hole


def shift(depth01: Depth, divergence: float, convergence: float, base: int) -> NDArray[np.float32]:
    """How far each pixel moves in an eye, float32 in the shape of `depth01`: pixels to the right in the left eye, to the left in the right.

    base: the length in pixels that `divergence` is a percentage of: the picture's longer side, see `base_of`. Where one eye is the source
    itself and only the other is made, pass twice the divergence. Raises UsageError for depth of another type or outside 0..1, for a
    divergence outside 0..100 and a convergence outside 0..1.
    """
    _check_depth(depth01)
    _check_eyes(divergence, convergence)
    pixels = np.float32(divergence / 100 * base / 2)
    moved: NDArray[np.float32] = (depth01 - np.float32(convergence)) * pixels
    return moved


def reach(divergence: float, convergence: float, base: int) -> int:
    """The most whole pixels that anything with a depth in 0..1 can move, either way. Raises UsageError as `shift` does."""
    _check_eyes(divergence, convergence)
    return math.ceil(divergence / 100 * base / 2 * max(convergence, 1 - convergence))


def base_of(height: int, width: int) -> int:
    """The length that divergence is a percentage of, for a picture of `height` x `width` pixels: its longer side."""
    return max(height, width)


def as_right(array: NDArray[Array], eye: Eye, axis: int = 1) -> NDArray[Array]:
    """The array as the right eye's: mirrored along `axis` (its columns) for the left eye; the same call takes the result back.

    It is a view, not a copy. Everything in this package, and every network for holes of this kind, knows only right eyes:
    what was hidden stands at the hole's right.
    """
    if eye == "right":
        return array
    return np.flip(array, axis)


def _check_depth(depth01: Depth) -> None:
    if depth01.dtype != np.float32 or depth01.ndim != 2 or depth01.size == 0:
        raise UsageError(f"depth is {depth01.dtype} {depth01.shape}, expected float32 H W in 0..1 with 1 = near; normalise it first")
    low, high = float(depth01.min()), float(depth01.max())
    if not (low >= -LEEWAY and high <= 1 + LEEWAY):  # so written that it holds for what is no number too
        raise UsageError(f"depth runs from {low:g} to {high:g}, expected 0..1 with 1 = near; normalise it first")


def _check_eyes(divergence: float, convergence: float) -> None:
    if not 0 <= divergence <= MOST_DIVERGENCE:
        raise UsageError(
            f"divergence is {divergence:g}, expected percent of the picture's longer side in 0..{MOST_DIVERGENCE:g}; 2 is usual"
        )
    if not 0 <= convergence <= 1:
        raise UsageError(f"convergence is {convergence:g}, expected a depth in 0..1: 0 puts the farthest on the screen, 1 the nearest")
