"""The holes of one eye's stream filled by any family, shot by shot, in constant memory.

Every family and every net meets a right eye, whose holes have their background on the right: a left eye is mirrored before and after.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.families.base import Filled, Filler, Span, State
from framefill.families.memory import fit_default
from framefill.families.spans import spans
from framefill.families.trained import Trained
from framefill.stereo.geometry import Eye, Hole, View, as_right
from framefill.stereo.occluders import Occluders

Picture = NDArray[np.uint8]  # H W 3


def filler_for_eyes(filler: Filler, overlap: tuple[int, int] | None, height: int, width: int) -> Filler:
    """Return a copy of `filler` for one of two eyes, which look as far as the default memory lets both.

    overlap: frames that a window is shown before and after those that it fills; None for the family's own. Raises UsageError where a net
    would have no frame left to fill.
    """
    if overlap is None:
        return fit_default(filler, 2 * height * width, 2 * height * width)
    bounded = copy.copy(filler)
    bounded.reach = max(overlap)
    if isinstance(filler, Trained):
        bounded.window = filler.length - sum(overlap)
        if bounded.window < 1:
            most = f"{filler.name} sees {filler.length} frames at once, so the two may come to {filler.length - 1}"
            raise UsageError(f"--overlap {overlap[0]},{overlap[1]}: {most}")
    return bounded


@dataclass(frozen=True)
class Sight:
    """A view whose holes are to be filled; `before` is what stands before them where the family is not to see it, else None."""

    view: View
    before: Occluders | None = None


def fill_eye(sights: Iterator[Sight], filler: Filler, eye: Eye, first: int, overlap: tuple[int, int] | None) -> Iterator[View]:
    """Give the views of one shot with their holes filled, every other pixel as it was; `hole` is what the family left as it was.

    sights: of one size, one at least. first: the number of the shot's first frame in the clip; `filler` may have seen earlier shots. Holes
    that are layered are left.
    """
    head = next(sights)
    waiting: deque[_Waiting] = deque()

    def seen() -> Iterator[tuple[Picture, Hole]]:
        for sight in chain((head,), sights):
            picture, mask, one = _turned(sight, eye)
            waiting.append(one)
            yield picture, mask

    state: State | None = None
    for span in spans(seen(), filler.window, filler.reach, *head.view.hole.shape):
        inside = slice(span.fill_start - span.start, span.fill_stop - span.start)
        filled: Filled | None = None
        if any(one.wanted.any() for one, _ in zip(waiting, span.mask[inside], strict=False)):
            filled, state = filler.fill_span(_shown(span, first, overlap), state)
        for number in range(inside.start, inside.stop):
            out, mask, one = span.frames[number].copy(), span.mask[number], waiting.popleft()
            left, pixels = one.hole, one.pixels
            if filled is not None:
                place = number - inside.start
                made = one.wanted & ~filled.remaining[place][mask]
                left, pixels = left & ~made, np.where(made[:, None], filled.frames[place][mask], pixels)
            out[mask] = pixels
            hole = np.zeros_like(mask)
            hole[mask] = left
            yield View(np.ascontiguousarray(as_right(out, eye)), np.ascontiguousarray(as_right(hole, eye)))


@dataclass(frozen=True)
class _Waiting:
    """What a frame had under the mask that its family is shown, flat: a span shows nothing there."""

    pixels: NDArray[np.uint8]  # n 3
    hole: NDArray[np.bool_]  # n
    wanted: NDArray[np.bool_]  # n, the part of the holes that is to be filled


def _turned(sight: Sight, eye: Eye) -> tuple[Picture, Hole, _Waiting]:
    """A right eye's picture, what of it the family may not see, and what stood there."""
    picture = np.ascontiguousarray(as_right(sight.view.picture, eye))
    hole = np.ascontiguousarray(as_right(sight.view.hole, eye))
    if sight.before is None:
        all_of_it = np.ones(np.count_nonzero(hole), np.bool_)
        return picture, hole, _Waiting(picture[hole], all_of_it, all_of_it)
    mask = hole | sight.before.hidden
    return picture, mask, _Waiting(picture[mask], hole[mask], (hole & ~sight.before.layered)[mask])


def _shown(span: Span, first: int, overlap: tuple[int, int] | None) -> Span:
    """The span in the clip's numbers, with no more around its window than was asked for."""
    start = 0 if overlap is None else max(0, span.fill_start - overlap[0] - span.start)
    stop = len(span.frames) if overlap is None else span.fill_stop + overlap[1] - span.start
    return replace(
        span, start=first + span.start + start, frames=span.frames[start:stop], mask=span.mask[start:stop],
        fill_start=first + span.fill_start, fill_stop=first + span.fill_stop,
    )  # fmt: skip
