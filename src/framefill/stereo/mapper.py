"""Mappers: from normalised depth to the shape of a disparity. All take and give 0..1, are monotone, and keep 0 and 1.

The curves and their constants are those of nagadomi/nunif (iw3): `mul` and `inv_mul` for relative depth, `div` for distances.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError

Floats = NDArray[np.float32]
Mapper = Callable[[Floats], Floats]

STEEP = 12.0  # of the softplus
MUL = {"mul_1": 0.343, "mul_2": 0.515, "mul_3": 0.687}  # where the softplus bends
INV_MUL = {"inv_mul_1": (-0.002102, 7.8788), "inv_mul_2": (-0.0003, 6.2626), "inv_mul_3": (-0.0001, 3.4343)}  # bend, steepness
LEAST = 1e-6  # under the logarithm
DIV = {"div_25": 2.5, "div_10": 1.0, "div_6": 0.6, "div_4": 0.4, "div_2": 0.2, "div_1": 0.1}  # distance of what is nearest


def default_mapper(is_metric: bool) -> str:
    """Name the mapper that fits: `div_6` for distances, `none` for what is a disparity already."""
    return "div_6" if is_metric else "none"


def get_mapper(name: str) -> Mapper:
    """Return a mapper by its name. Raises UsageError for a name that is not in the table."""
    try:
        return MAPPERS[name]
    except KeyError:
        raise UsageError(f"mapper {name!r} is not known; expected one of {', '.join(MAPPERS)}") from None


def _none(depth: Floats) -> Floats:
    return depth.astype(np.float32)


def _mul(bend: float) -> Mapper:
    """A softplus: more room for what is near."""

    def curve(depth: Floats) -> Floats:
        return np.asarray(np.logaddexp(np.float32(0), (depth - np.float32(bend)) * np.float32(STEEP)), np.float32)

    return _normalised(curve)


def _inv_mul(bend: float, steepness: float) -> Mapper:
    """The softplus turned round: more room for what is far."""

    def curve(depth: Floats) -> Floats:
        rise = np.expm1((depth - np.float32(bend)) * np.float32(steepness))
        return np.asarray(np.log(np.maximum(rise, np.float32(LEAST))), np.float32)

    return _normalised(curve)


def _div(nearest: float) -> Mapper:
    """One over the distance, where depth 1 stands at `nearest` and depth 0 at `nearest` + 1."""

    def curve(depth: Floats) -> Floats:
        return np.float32(nearest) / (np.float32(1 + nearest) - depth)

    return _normalised(curve)


def _normalised(curve: Mapper) -> Mapper:
    """The curve moved and scaled so that it keeps 0 and 1."""
    low, high = curve(np.array([0, 1], np.float32))

    def mapper(depth: Floats) -> Floats:
        return np.asarray(np.clip((curve(depth) - low) / (high - low), 0, 1), np.float32)

    return mapper


MAPPERS: dict[str, Mapper] = {
    "none": _none,
    **{name: _mul(bend) for name, bend in MUL.items()},
    **{name: _inv_mul(*shape) for name, shape in INV_MUL.items()},
    **{name: _div(nearest) for name, nearest in DIV.items()},
}
