"""How much memory a run takes, as a measured model, and how far a filler may look within a limit.

Measured as the peak resident memory of runs with `auto`, H.264 in and out, two cores, one heap (as the program sets it), a box that
moves over the picture. What is held grows with the hole; the model is that of a hole of 10 %:

    picture, window, reach      hole 3 %    10 %    30 %    model
    1280x720, 8, 8                   525     592     780      644  MB
    1280x720, 8, 17, by default      627     765    1083      794
    1280x720, 8, 24                  718     855              910
    1920x1080, 8, 8                 1005                     1300
    432x240, 20, 40              7 %: 259                     251

A filler with a net takes more, which the model adds as the filler says it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from framefill.errors import UsageError
from framefill.families.base import Filler

DEFAULT = 800_000_000  # bytes; what a run stays below where nobody asks for another limit, beside what a net takes
# Frames; the default cuts down to no less. On the DAVIS clip bmx-trees, a still box of 90x80 in 432x240, a reach of 40, 24, 16, 8 gives
# 19.3, 19.3, 19.2, 17.7 dB in the hole; a window of 8 or 20 makes no difference.
LEAST_WINDOW, LEAST_REACH = 8, 16
PROCESS = 120e6  # the interpreter, OpenCV, FFmpeg's code
PIPE = 245  # bytes per pixel of the picture, whatever the window: decoder, encoder, queues, key frames for the report
WAITING = 2.0  # per pixel and frame that waits for its window: the decoder's own samples
WAITING_WHOLE = 6.5  # the same where the filler sees only a region: the picture and its masks wait too
SPAN = 4  # per pixel that the filler sees and frame of the span: rgb and mask
FILLER = 4  # the same: what `auto` keeps of a frame and takes along from it
WORKING = 100  # per pixel that the filler sees: what it works on at a time, and frames seen long ago


@runtime_checkable
class Heavy(Protocol):
    """A filler that takes `memory` bytes beside what its frames take."""

    @property
    def memory(self) -> int:
        """Bytes."""
        ...

    def lighter(self) -> Filler:
        """The filler without what takes them."""
        ...


@runtime_checkable
class Fitting(Protocol):
    """A filler that knows by itself how to stay within a limit: what it takes is not a matter of windows and reach alone."""

    def fitted(self, limit: int | None, pixels: int, seen: int) -> Filler:
        """The filler within `limit` bytes (None: its usual way), for a picture of `pixels` of which it sees `seen`.

        Raises UsageError with the smallest limit that works.
        """
        ...


def needed_memory(window: int, reach: int, pixels: int, seen: int) -> int:
    """Estimate a run's peak memory in bytes.

    `pixels` is width x height of the picture, `seen` that of the part which the filler sees; `window` and `reach` in frames.
    """
    waiting = (WAITING if seen == pixels else WAITING_WHOLE) * pixels * (window + reach)
    return int(PROCESS + PIPE * pixels + waiting + (WORKING + (SPAN + FILLER) * (window + 2 * reach)) * seen)


def fit_memory(filler: Filler, limit: int, pixels: int, seen: int) -> Filler:
    """Return `filler` with the longest window and reach that stay below `limit` bytes; without its net, where that takes too much.

    Raises UsageError with the smallest limit that works when not even one frame with one neighbour on either side fits.
    """
    if isinstance(filler, Fitting):
        return filler.fitted(limit, pixels, seen)
    own = filler.memory if isinstance(filler, Heavy) else 0
    choices = list(_choices(filler, LEAST_WINDOW, LEAST_REACH))
    if not own:
        choices += _choices(filler, 1, 1)
    for window, reach in choices:
        if needed_memory(window, reach, pixels, seen) + own <= limit:
            return _bounded(filler, window, reach)
    if isinstance(filler, Heavy) and own:
        return fit_memory(filler.lighter(), limit, pixels, seen)
    least = needed_memory(*choices[-1], pixels, seen)
    raise UsageError(f"--memory {limit / 1e6:.0f}MB is too little for this clip; the smallest that works is {-(-least // 10**6)}MB")


def fit_default(filler: Filler, pixels: int, seen: int) -> Filler:
    """Return `filler` with the longest window and reach that stay below `DEFAULT` bytes, or with the least where that takes more."""
    if isinstance(filler, Fitting):
        return filler.fitted(None, pixels, seen)
    choices = list(_choices(filler, LEAST_WINDOW, LEAST_REACH))
    fitting = (choice for choice in choices if needed_memory(*choice, pixels, seen) <= DEFAULT)
    return _bounded(filler, *next(fitting, choices[-1]))


def _choices(filler: Filler, least_window: int, least_reach: int) -> Iterator[tuple[int, int]]:
    """Give windows and reaches, each smaller than the one before: the window is cut first, for reach is what shows the hidden."""
    window, reach = min(filler.window, least_window), min(filler.reach, least_reach)
    yield from ((longer, filler.reach) for longer in range(filler.window, window, -1))
    yield from ((window, farther) for farther in range(filler.reach, reach - 1, -1))


def _bounded(filler: Filler, window: int, reach: int) -> Filler:
    bounded = copy.copy(filler)
    bounded.window, bounded.reach = window, reach
    return bounded
