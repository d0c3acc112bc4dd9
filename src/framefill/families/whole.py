"""A whole clip filled in memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framefill.families.base import Filled, Filler, State
from framefill.families.memory import fit_default
from framefill.families.spans import spans
from framefill.media.composite import composite


def fill_whole(frames: NDArray[np.uint8], mask: NDArray[np.bool_], filler: Filler) -> Filled:
    """Fill a clip in memory, window by window as a file is filled: the same pixels.

    `frames` uint8 T H W 3, `mask` bool T H W with True = unknown. What is returned equals `frames` outside the mask.
    """
    out = frames.copy()
    provenance = np.zeros(mask.shape, np.uint8)
    remaining = np.zeros(mask.shape, np.bool_)
    pixels = mask.shape[1] * mask.shape[2]
    filler = fit_default(filler, pixels, pixels)  # the window and the reach that a file is filled with
    state: State | None = None
    for span in spans(zip(frames, mask, strict=True), filler.window, filler.reach, *mask.shape[1:]):
        window = slice(span.fill_start, span.fill_stop)
        if not mask[window].any():
            continue
        filled, state = filler.fill_span(span, state)
        for index, made, origin, left in zip(
            range(span.fill_start, span.fill_stop), filled.frames, filled.provenance, filled.remaining, strict=True
        ):
            out[index] = composite(frames[index], made, np.ascontiguousarray(mask[index]))
            provenance[index] = np.where(mask[index], origin, 0)
            remaining[index] = left & mask[index]
    return Filled(out, provenance, remaining)
