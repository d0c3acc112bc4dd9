"""The holes of one eye's stream filled by any family, shot by shot, in constant memory.

Every family and every net meets a right eye, whose holes have their background on the right: a left eye is mirrored before and after.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.families.base import Filled, Filler, Span, State
from framefill.families.memory import fit_default
from framefill.families.spans import spans
from framefill.motion.completion import pull_push
from framefill.stereo.geometry import Eye, Hole, View, as_right
from framefill.stereo.occluders import Occluders, runs

Picture = NDArray[np.uint8]  # H W 3
BESIDE = 2  # columns at a hole's right, behind the one where colours are mixed, that what was made is held against
NEARBY = 3  # rows above and below over which that is averaged
MOST_STEP = 20.0  # levels between what was made and the background beside it, above which the light or the thing is another one


@runtime_checkable
class Net(Filler, Protocol):
    """A filler that is a trained net; `tasks` are the names in media.tasks that it learnt."""

    tasks: tuple[str, ...]


def filler_for_eyes(filler: Filler, overlap: tuple[int, int] | None, height: int, width: int) -> Filler:
    """Return a copy of `filler` for one of two eyes, which look as far as the default memory lets both.

    overlap: frames that a net's window is shown before and after those that it fills; None for the family's own. Raises UsageError where
    no frame would be left to fill.
    """
    if overlap is None:
        return fit_default(filler, 2 * height * width, 2 * height * width)
    seen = filler.window + 2 * filler.reach
    bounded = copy.copy(filler)
    bounded.window, bounded.reach = seen - sum(overlap), max(overlap)
    if bounded.window < 1:
        most = f"{filler.name} sees {seen} frames at once, so the two may come to {seen - 1}"
        raise UsageError(f"--overlap {overlap[0]},{overlap[1]}: {most}")
    return bounded


@dataclass(frozen=True)
class Sight:
    """A view whose holes are to be filled; `before` is what stands before them, None where nobody has looked."""

    view: View
    before: Occluders | None = None


def fill_eye(sights: Iterator[Sight], filler: Filler, eye: Eye, first: int, overlap: tuple[int, int] | None) -> Iterator[Sight]:
    """Give the views of one shot with their holes filled, every other pixel as it was; `hole` is what the family left as it was.

    sights: of one size, one at least. first: the number of the shot's first frame in the clip; `filler` may have seen earlier shots. Holes
    that are layered are left. What stands before the holes a family that looks for them in other frames may not see, and a net that
    learnt other holes too is shown background in its place; only a net of the task `stereo` alone knows by itself on which side of a hole
    its background lies.
    """
    head = next(sights)
    waiting: deque[_Waiting] = deque()
    paints = isinstance(filler, Net)
    knows = isinstance(filler, Net) and tuple(filler.tasks) == ("stereo",)

    def seen() -> Iterator[tuple[Picture, Hole]]:
        for sight in chain((head,), sights):
            picture, mask, one = _turned(sight, eye, knows, paints)
            waiting.append(one)
            yield picture, mask

    state: State | None = None
    for span in spans(seen(), filler.window, filler.reach, *head.view.hole.shape):
        inside = slice(span.fill_start - span.start, span.fill_stop - span.start)
        filled: Filled | None = None
        if any(one.wanted.any() for one, _ in zip(waiting, span.mask[inside], strict=False)):
            filled, state = filler.fill_span(_shown(span, first, overlap), state)
        for number in range(inside.start, inside.stop):
            place = number - inside.start
            made = None if filled is None else (filled.frames[place], filled.remaining[place])
            yield _together(span.frames[number], waiting.popleft(), made, eye)


@dataclass(frozen=True)
class _Waiting:
    """A frame of a right eye until it is filled: what it had `where` its family is shown something else, flat, and its holes there.

    painted: whether that family is a net, which makes nothing but the holes; others say of all that they are not shown what lies there.
    """

    before: Occluders | None
    where: Hole  # h w
    pixels: NDArray[np.uint8]  # n 3
    hole: NDArray[np.bool_]  # n
    wanted: NDArray[np.bool_]  # n, the part of the holes that is to be filled
    painted: bool


def _turned(sight: Sight, eye: Eye, knows: bool, paints: bool) -> tuple[Picture, Hole, _Waiting]:
    """A right eye's picture as the family is shown it, what of it is unknown to it, and what stood there."""
    picture = np.ascontiguousarray(as_right(sight.view.picture, eye))
    hole = np.ascontiguousarray(as_right(sight.view.hole, eye))
    if sight.before is None or knows:
        all_of_it = np.ones(np.count_nonzero(hole), np.bool_)
        return picture, hole, _Waiting(sight.before, hole, picture[hole], all_of_it, all_of_it, True)
    where, wanted = hole | sight.before.hidden, hole & ~sight.before.layered
    one = _Waiting(sight.before, where, picture[where], hole[where], wanted[where], paints)
    if paints:
        return _painted(picture, where), wanted, one
    return picture, where, one


def _painted(picture: Picture, where: Hole) -> Picture:
    """The picture with what is smoothly around it `where` it is told."""
    out = picture.copy()
    if where.any() and not where.all():
        smooth = pull_push(picture.astype(np.float32), ~where)
        out[where] = np.clip(np.rint(smooth[where]), 0, 255).astype(np.uint8)
    return out


def _together(shown: Picture, one: _Waiting, made: tuple[Picture, Hole] | None, eye: Eye) -> Sight:
    """Put back what the family was not shown, and in the holes what it made, as far as that goes with the background beside them."""
    out, hole = shown.copy(), np.zeros(one.where.shape, np.bool_)
    out[one.where], hole[one.where] = one.pixels, one.hole
    if made is not None:
        done = np.zeros_like(hole)
        done[one.where] = one.wanted & ~made[1][one.where]
        if one.before is not None:
            done &= _goes_with(made[0], out, done)
        picture = made[0]
        if one.before is not None and not one.painted:
            seen = np.zeros_like(hole)
            seen[one.where] = ~one.hole & ~made[1][one.where]
            picture = _met(picture, out, done, seen)
        cv2.copyTo(picture, done.view(np.uint8), out)
        hole &= ~done
    return Sight(View(np.ascontiguousarray(as_right(out, eye)), np.ascontiguousarray(as_right(hole, eye))), one.before)


def _goes_with(made: Picture, picture: Picture, done: Hole) -> Hole:
    """Tell the holes, of those that are `done`, whose right border goes with the background at the right of it: bool H W."""
    rows, _, stop = runs(done)
    beside = picture[rows, np.minimum(stop + 1, done.shape[1] - 1)].astype(np.int16)
    step = np.abs(made[rows, stop - 1] - beside).mean(-1)
    _, labels = cv2.connectedComponents(done.view(np.uint8))
    label = labels[rows, stop - 1]
    alien = [each for each in np.unique(label) if np.median(step[label == each]) > MOST_STEP]
    return ~np.isin(labels, alien)


def _met(made: Picture, picture: Picture, done: Hole, seen: Hole) -> Picture:
    """What was made with its colours brought to meet the background at the right of the holes that are `done`.

    seen: pixels that were made and are known. What the two differ by there, just beside a hole, is what they are taken to differ by in
    the hole's row, as a mean over nearby rows: another light, not another thing.
    """
    rows, start, stop = runs(done)
    if not len(rows):
        return made
    columns = np.minimum(stop[:, None] + np.arange(1, 1 + BESIDE), done.shape[1] - 1)
    known = seen[rows[:, None], columns]
    step = picture[rows[:, None], columns].astype(np.float32) - made[rows[:, None], columns]
    run = np.zeros((*done.shape, 4), np.float32)
    told = np.concatenate([(step * known[..., None]).sum(1), known.sum(1, dtype=np.float32)[:, None]], 1)
    for row, first, behind, change in zip(rows, start, stop, told, strict=True):
        run[row, first:behind] = change
    spread = cv2.blur(run, (1, 2 * NEARBY + 1), borderType=cv2.BORDER_CONSTANT)
    return np.clip(np.rint(made + spread[..., :3] / np.maximum(spread[..., 3:], 1e-6)), 0, 255).astype(np.uint8)


def _shown(span: Span, first: int, overlap: tuple[int, int] | None) -> Span:
    """The span in the clip's numbers, with no more around its window than was asked for."""
    start = 0 if overlap is None else max(0, span.fill_start - overlap[0] - span.start)
    stop = len(span.frames) if overlap is None else span.fill_stop + overlap[1] - span.start
    return replace(
        span, start=first + span.start + start, frames=span.frames[start:stop], mask=span.mask[start:stop],
        fill_start=first + span.fill_start, fill_stop=first + span.fill_stop,
    )  # fmt: skip
