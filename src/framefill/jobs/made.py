"""What a filler made of one window, kept flat: in memory until it is written, and on disk in the job's folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framefill.families.base import Filled
from framefill.media.composite import bounding_box


@dataclass(frozen=True)
class Made:
    """The made pixels of one window, flat, frame after frame in row-major order of the mask.

    `counts` int64 per frame of the window; `pixels` uint8 N 3; `provenance` uint8 N: 1 propagated, 2 generated, 0 left as no frame
    shows it; `seconds` is the time the filler took.
    """

    counts: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    provenance: NDArray[np.uint8]
    seconds: float

    @classmethod
    def take(cls, filled: Filled, fill: NDArray[np.bool_], seconds: float) -> Made:
        """Keep of `filled` what lies under `fill` (bool T H W, the window's part of the mask that is composited)."""
        assert filled.frames.shape[:3] == fill.shape, f"the filler gave {filled.frames.shape} for a window of {fill.shape}"
        box = bounding_box(np.asarray(fill.any(0)))
        assert box is not None, "a window without a hole is not handed to a filler"
        area = (slice(None), *box)  # an index over whole frames costs far more than one over the hole's box
        inside, left = fill[area], filled.remaining[area]
        provenance = np.where(left[inside], np.uint8(0), filled.provenance[area][inside])
        return cls(_counts(fill), filled.frames[area][inside], provenance, seconds)

    def fits(self, fill: NDArray[np.bool_]) -> bool:
        """Tell whether these pixels belong to a window with the mask `fill`, bool T H W."""
        total = int(self.counts.sum())
        return np.array_equal(self.counts, _counts(fill)) and len(self.pixels) == len(self.provenance) == total

    def split(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Give each frame's (pixels, provenance) in order."""
        stops = np.cumsum(self.counts)
        for start, stop in zip(stops - self.counts, stops, strict=True):
            yield self.pixels[start:stop], self.provenance[start:stop]


def _counts(fill: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.array([np.count_nonzero(mask) for mask in fill], np.int64)
