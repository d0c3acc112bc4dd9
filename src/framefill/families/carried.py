"""What fillers that know the frames before have in common: the last ones of a window, as they were filled, are known to the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framefill.families.base import GENERATED, Filled, Span, State

Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W


def with_carried(span: Span, state: State | None) -> tuple[Frames, Mask]:
    """Copy a span's frames and mask, with what `state` holds of the window before in its place, and known."""
    frames, mask = span.frames.copy(), span.mask.copy()
    if state is not None:
        first = max(int(state["start"][0]), span.start)
        carried = state["frames"][first - int(state["start"][0]) :]
        place = slice(first - span.start, first - span.start + len(carried))
        frames[place], mask[place] = carried.astype(np.uint8), False
    return frames, mask


def outcome(span: Span, made: Frames, reach: int) -> tuple[Filled, State]:
    """Fill the window of a span with what was `made` of its frames, and keep the last `reach` of them for the next."""
    inside = slice(span.fill_start - span.start, span.fill_stop - span.start)
    hole = span.mask[inside]
    filled: Frames = np.where(hole[..., None], made, span.frames[inside])
    tail = filled[-reach:] if reach else filled[:0]
    kept: State = {"frames": tail.copy(), "start": np.array([span.fill_stop - len(tail)])}
    return Filled(filled, np.where(hole, np.uint8(GENERATED), np.uint8(0)), np.zeros_like(hole)), kept
