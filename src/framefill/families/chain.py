"""Windows of a long clip for a net that makes frames from known ones: each takes what the ones before have made as known.

Unlike the stream of `media.windows`, the whole mask is there: a window is made to end at a known frame where one comes later, so that what
lies between known frames is always made from both sides.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.media.windows import Window


def chain(holes: NDArray[np.bool_], length: int, overlap: int) -> Iterator[Window]:
    """The windows of clips with masks bool B T H W, up to `length` frames each, of which at least `overlap` are known or made before.

    Windows reach back to full length, for context. What comes before the first known frame is made last, and backwards in time, unless
    the whole clip fits into one window. Raises UsageError for an overlap that leaves nothing to make.
    """
    if not 0 <= overlap < length:
        raise UsageError(f"overlap is {overlap} in windows of {length} frames, expected 0 to {length - 1}")
    frames = holes.shape[1]
    unknown = np.asarray(holes.any((0, 2, 3)), np.bool_)  # in any of the clips
    first = 0 if unknown.all() or frames <= length else int(np.argmin(unknown))
    yield from _onwards(unknown, length, overlap, first)
    made = first
    while made:
        start = max(0, made - length + overlap)
        yield Window(start, min(start + length, frames), start, made, start)
        made = start


def _onwards(unknown: NDArray[np.bool_], length: int, overlap: int, first: int) -> Iterator[Window]:
    """The windows from frame `first` on, with frames bool T of which something is unknown."""
    frames = len(unknown)
    known = np.flatnonzero(~unknown)
    made = first
    while made < frames:
        stop = min(made + length - (overlap if made > first else 0), frames)
        if stop < frames and known.size and known[-1] >= stop:
            # A known frame after an unknown one closes a gap; one that only begins the window does not.
            closing = known[(known >= made) & (known < stop)]
            closing = closing[closing > made + np.argmax(unknown[made:stop])] if unknown[made:stop].any() else closing
            stop = int(closing[-1]) + 1 if closing.size else stop
        yield Window(max(first, stop - length), stop, made, stop, made)
        made = stop
