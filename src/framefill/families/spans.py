"""A clip of any length seen through a sliding run of frames: the spans that a filler is given, one window after the other.

Only `window + 2 * reach` frames are in memory. They lie in one buffer that is used again and again: copying into freshly
allocated memory was measured 8 times as slow as into memory in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.families.base import Span

BLANK = 127  # what stands under the mask in every span: hidden pixels cannot leak into a result that never gets to see them


def spans(
    frames: Iterable[tuple[NDArray[np.uint8], NDArray[np.bool_]]], window: int, reach: int, height: int, width: int
) -> Iterator[Span]:
    """Cut a stream of (rgb, mask) into spans that fill `window` frames each and show up to `reach` more on either side.

    A span is a read-only view that stays valid until the next one is asked for; pixels under the mask are blanked in it. Windows
    begin at multiples of `window`; the last one is cut short. Frames are uint8 `height` `width` 3, masks bool of that size.
    """
    ring = _Ring(window + 2 * reach, height, width)
    start = 0
    for rgb, mask in frames:
        ring.push(rgb, mask)
        if ring.stop == start + window + reach:
            yield ring.span(start, start + window)
            start += window
            ring.drop_before(start - reach)
    while start < ring.stop:
        stop = min(start + window, ring.stop)
        yield ring.span(start, stop)
        start = stop
        ring.drop_before(start - reach)


class _Ring:
    """The last frames of a stream, `start .. stop` in clip indices, one after the other in memory."""

    def __init__(self, capacity: int, height: int, width: int) -> None:
        # Pages that no short clip ever touches cost nothing, so the whole capacity may be asked for at once.
        self._frames = np.empty((capacity, height, width, 3), np.uint8)
        self._masks = np.empty((capacity, height, width), np.bool_)
        self._grey = np.full((height, width, 3), BLANK, np.uint8)
        self.start = 0
        self.stop = 0

    def push(self, rgb: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
        slot = self.stop - self.start
        np.copyto(self._frames[slot], rgb)
        np.copyto(self._masks[slot], mask)
        cv2.copyTo(self._grey, self._masks[slot].view(np.uint8), self._frames[slot])
        self.stop += 1

    def drop_before(self, index: int) -> None:
        """Forget the frames before `index` and close up; frame by frame, since an overlapping move would allocate a copy."""
        gone = index - self.start
        if gone <= 0:
            return
        for slot in range(self.stop - index):
            np.copyto(self._frames[slot], self._frames[slot + gone])
            np.copyto(self._masks[slot], self._masks[slot + gone])
        self.start = index

    def span(self, fill_start: int, fill_stop: int) -> Span:
        """View all frames held, of which `fill_start .. fill_stop` are to be filled."""
        frames, masks = self._frames[: self.stop - self.start], self._masks[: self.stop - self.start]
        frames.flags.writeable = masks.flags.writeable = False
        return Span(self.start, frames, masks, fill_start, fill_stop)
