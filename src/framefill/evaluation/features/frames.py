"""What arrays a feature network takes, and the guard that refuses a clip whose values are of another range than it was said to have.

A network fed [0, 1] where it wants [-1, 1] gives numbers that look like any others; the range is therefore declared and checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from framefill.errors import UsageError

Pictures: TypeAlias = NDArray[np.uint8] | NDArray[np.floating] | Tensor  # T H W 3, RGB
Range = Literal["0..255", "0..1", "-1..1"]
RANGES: dict[Range, tuple[float, float]] = {"0..255": (0.0, 255.0), "0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0)}
_SLACK = 1e-3  # of the range: what resizing may leave beyond an end


def to_unit(frames: Pictures, declared: Range = "0..255") -> Tensor:
    """Return frames T H W 3 as float32 T 3 H W in [0, 1]; `declared` is the range of floats, uint8 is always 0..255.

    Raises UsageError for arrays of another shape or kind, and for floats that cannot be of the declared range.
    """
    return next(unit_batches(frames, len(frames) or 1, declared))


def unit_batches(frames: Pictures, count: int, declared: Range = "0..255") -> Iterator[Tensor]:
    """Give what `to_unit` returns `count` frames at a time, so that a long clip never stands in memory as floats.

    The range is judged over the whole clip. Raises what `to_unit` raises, before the first batch.
    """
    tensor = frames if isinstance(frames, Tensor) else torch.from_numpy(np.ascontiguousarray(frames))
    if tensor.ndim != 4 or tensor.shape[3] != 3 or 0 in tensor.shape:
        raise UsageError(f"frames are {tuple(tensor.shape)}, expected T H W 3")
    low, high = RANGES["0..255" if tensor.dtype == torch.uint8 else declared]
    if tensor.is_floating_point():
        check_range(float(tensor.min()), float(tensor.max()), declared)
    elif tensor.dtype != torch.uint8:
        raise UsageError(f"frames are {tensor.dtype}, expected uint8 (0..255) or floats of a declared range")
    for part in tensor.split(count):
        yield part.permute(0, 3, 1, 2).to(torch.float32).sub(low).div_(high - low).clamp_(0, 1)


def check_range(least: float, most: float, declared: Range) -> None:
    """Raise UsageError when values from `least` to `most` cannot be a picture of the range `declared`, naming the likely one.

    A range can lie within another, so the guard also refuses what could be but hardly is: a clip declared -1..1 without any value
    below 0, and a clip declared 0..255 with none above 1 (all black is black in both).
    """
    low, high = RANGES[declared]
    slack = _SLACK * (high - low)
    inside = low - slack <= least and most <= high + slack  # False for nan
    narrow = (declared == "-1..1" and least >= 0) or (declared == "0..255" and 0 < most <= 1)
    if inside and not narrow:
        return
    likely = next((name for name in ("0..1", "-1..1", "0..255") if RANGES[name][0] <= least and most <= RANGES[name][1]), None)
    hint = f"it looks like {likely}: declare that" if likely else "look at how it was made, or convert it to uint8"
    raise UsageError(f"the clip's values run from {least:.4g} to {most:.4g} and it was declared {declared}; {hint}")
