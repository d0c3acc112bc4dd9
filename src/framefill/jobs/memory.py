"""How much memory a run takes, as a measured model, and how far a filler may look within a limit.

Measured as the peak resident memory of whole runs, H.264 in and out, two cores, at 432x240, 1280x720 and 1920x1080, windows of 1 to 16
frames and reaches of 1 to 40, with a filler that does nothing: the model lies from 4 % below the peak (long windows, small pictures)
to 30 % above it (one-frame windows, large pictures). 1280x720, window 16, reach 40: 785 MB measured, 783 MB by the model.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

from framefill.errors import UsageError
from framefill.families.base import Filler

DEFAULT = 800_000_000  # bytes; what a run stays below where nobody asks for another limit
LEAST = 8  # frames, the least window and reach that the default cuts down to: with less, too little of what is hidden is seen
PROCESS = 100e6  # the interpreter, OpenCV, FFmpeg's code
PIPE = 245  # bytes per pixel of the picture, whatever the window: decoder, encoder, queues, key frames for the report
WAITING = 2.0  # per pixel and frame that waits for its window: the decoder's own samples
WAITING_WHOLE = 6.5  # the same where the filler sees only a region: the picture and its masks wait too
SPAN = 4  # per pixel that the filler sees and frame of the span: rgb and mask
FILLER = 12  # the same: what `auto` keeps of a frame, for a hole of 3 to 7 % of it


def needed_memory(window: int, reach: int, pixels: int, seen: int) -> int:
    """Estimate a run's peak memory in bytes.

    `pixels` is width x height of the picture, `seen` that of the part which the filler sees; `window` and `reach` in frames.
    """
    waiting = (WAITING if seen == pixels else WAITING_WHOLE) * pixels * (window + reach)
    return int(PROCESS + PIPE * pixels + waiting + (SPAN + FILLER) * seen * (window + 2 * reach))


def fit_memory(filler: Filler, limit: int, pixels: int, seen: int) -> Filler:
    """Return `filler` with the longest window and reach that stay below `limit` bytes.

    Raises UsageError with the smallest limit that works when not even one frame with one neighbour on either side fits.
    """
    choices = [*_choices(filler, LEAST), *_choices(filler, 1)]
    for window, reach in choices:
        if needed_memory(window, reach, pixels, seen) <= limit:
            return _bounded(filler, window, reach)
    least = needed_memory(*choices[-1], pixels, seen)
    raise UsageError(f"--memory {limit / 1e6:.0f}MB is too little for this clip; the smallest that works is {-(-least // 10**6)}MB")


def fit_default(filler: Filler, pixels: int, seen: int) -> Filler:
    """Return `filler` with the longest window and reach that stay below `DEFAULT` bytes, or with `LEAST` of each where that takes more."""
    choices = list(_choices(filler, LEAST))
    fitting = (choice for choice in choices if needed_memory(*choice, pixels, seen) <= DEFAULT)
    return _bounded(filler, *next(fitting, choices[-1]))


def _choices(filler: Filler, least: int) -> Iterator[tuple[int, int]]:
    """Give windows and reaches, each smaller than the one before: the window is cut first, for reach is what shows the hidden."""
    window, reach = min(filler.window, least), min(filler.reach, least)
    yield from ((longer, filler.reach) for longer in range(filler.window, window, -1))
    yield from ((window, farther) for farther in range(filler.reach, reach - 1, -1))


def _bounded(filler: Filler, window: int, reach: int) -> Filler:
    bounded = copy.copy(filler)
    bounded.window, bounded.reach = window, reach
    return bounded
