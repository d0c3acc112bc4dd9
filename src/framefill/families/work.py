"""The frames of one window while they are being filled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framefill.families.base import Filled, Span
from framefill.motion.footage import Footage
from framefill.motion.regions import Region


class Work:
    """A window of footage: `window` are its frames' places in the footage; `left` bool T H W says what is still to be filled."""

    def __init__(self, span: Span, footage: Footage) -> None:
        self.window = range(span.fill_start - span.start, span.fill_stop - span.start)
        frames = slice(self.window.start, self.window.stop)
        self.footage = footage
        self.out = span.frames[frames].copy()
        self.left = span.mask[frames].copy()
        self.provenance = np.zeros(self.left.shape, np.uint8)

    def picture(self, number: int, region: Region) -> NDArray[np.uint8]:
        """Return a rectangle of one of the window's frames as it stands, uint8 h w 3."""
        picture: NDArray[np.uint8] = self.out[number][region.area]
        return picture

    def hole(self, number: int, region: Region) -> NDArray[np.bool_]:
        """Return what is left to fill in a rectangle of one of the window's frames, bool h w."""
        hole: NDArray[np.bool_] = self.left[number][region.area]
        return hole

    def settle(self, number: int, region: Region, where: NDArray[np.bool_], colours: NDArray[np.generic], origin: int) -> None:
        """Fill the pixels `where` (bool h w, a part of the hole) of a rectangle with `colours` (h w 3, levels), made by `origin`."""
        self.out[number][region.area][where] = np.rint(np.clip(colours[where], 0, 255))
        self.provenance[number][region.area][where] = origin
        self.left[number][region.area][where] = False

    def filled(self) -> Filled:
        """Return the window as it stands."""
        return Filled(self.out, self.provenance, self.left)
