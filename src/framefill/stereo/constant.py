"""Depth that is the same everywhere: nothing shifts against anything; for benchmarks and for trying a pipeline out."""

from __future__ import annotations

import numpy as np

from framefill.errors import UsageError
from framefill.stereo.depth import Depth, Frames, check_frames


class ConstantDepth:
    """One value for every pixel of every frame. Raises UsageError for a value that is no finite number."""

    name = "constant"
    is_metric = False

    def __init__(self, value: float = 0.5) -> None:
        if not np.isfinite(value):
            raise UsageError(f"a constant depth of {value} was asked for; expected a finite number")
        self.value = value

    def infer(self, frames: Frames) -> Depth:
        """Give T H W of the value, at the frames' size."""
        check_frames(frames)
        return np.full(frames.shape[:3], self.value, np.float32)

    def reset(self) -> None:
        """Nothing was kept."""
