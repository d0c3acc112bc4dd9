"""Plain methods that every model has to beat, as fillers: what a clip scores for nothing.

Telea: An Image Inpainting Technique Based on the Fast Marching Method, 2004. Navier-Stokes: Bertalmio et al., CVPR 2001. RIFE: Huang et
al., Real-Time Intermediate Flow Estimation for Video Frame Interpolation, ECCV 2022. DIS: Kroeger et al., ECCV 2016. Each makes its
frames one by one from the span alone, keeps no state, and reads no pixel under the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.families import FAMILIES, Family, get
from framefill.families.base import GENERATED, PROPAGATED, Filled, Filler, Span, State
from framefill.families.guess import go_on
from framefill.families.trained import folder_of

WINDOW = 20  # frames
REACH = 40  # frames before and after, where a baseline looks at other frames at all
RADIUS = 3  # pixels around a hole's pixel that OpenCV's inpainting looks at, as in OpenCV's own sample
PORTION = 1 << 16  # pixels of a hole worked on at a time, which bounds the memory
GREY = 127  # a frame of which nothing is known and that nothing else shows

Picture = NDArray[np.uint8]  # H W 3
Interpolate = Callable[[Picture, Picture, float], Picture]  # two pictures, the time between them in 0 .. 1 -> the picture at that time
Places = NDArray[np.intp]  # indices of pixels in a flattened picture, or of frames in a span, -1 = none


@dataclass(frozen=True)
class Frame:
    """A frame being filled, the one in place `number` of its span.

    `picture` uint8 H W 3 is black under the mask, `left` bool H W is what is still to fill, `origin` uint8 H W the provenance.
    """

    span: Span
    number: int
    picture: Picture
    left: NDArray[np.bool_]
    origin: NDArray[np.uint8]

    def settle(self, pixels: Places, colours: NDArray[np.generic], origin: int) -> None:
        """Fill the pixels with `colours` (N 3, levels), made by `origin`."""
        self.picture.reshape(-1, 3)[pixels] = colours
        self.origin.reshape(-1)[pixels] = origin
        self.left.reshape(-1)[pixels] = False


@dataclass
class Baseline:
    """A filler that fills frame by frame: `fill` is given each frame that has a hole, and fills what is left of it."""

    name: str
    fill: Callable[[Frame], None]
    reach: int = 0
    window: int = WINDOW

    def fill_span(self, span: Span, state: State | None) -> tuple[Filled, State]:
        """Fill the window of a span; there is no state to hand on."""
        made = [self._filled(span, index - span.start) for index in range(span.fill_start, span.fill_stop)]
        stacked = Filled(
            np.stack([frame.picture for frame in made]),
            np.stack([frame.origin for frame in made]),
            np.stack([frame.left for frame in made]),
        )
        return stacked, {}

    def _filled(self, span: Span, number: int) -> Frame:
        mask = span.mask[number]
        picture = span.frames[number].copy()
        picture[mask] = 0
        frame = Frame(span, number, picture, mask.copy(), np.zeros(mask.shape, np.uint8))
        if mask.any():
            self.fill(frame)
        return frame


def get_model(name: str) -> Filler:
    """Make a filler by its name in `FAMILIES` or `BASELINES`, or of a trained pipeline: its folder, `fff:...`, or `auto+` before either.

    Raises UsageError for any other name, and for `rife` MissingWeights or WeightsError where its weights or torch are absent.
    """
    if name in BASELINES:
        return BASELINES[name].make()
    if name not in FAMILIES and not Path(name).is_dir() and folder_of(name) is None:
        raise UsageError(f"no model is called {name!r}; there are {', '.join([*FAMILIES, *BASELINES])}, and folders of trained ones")
    return get(name)


def leave(frame: Frame) -> None:
    """Leave the hole as it is, black: the floor of every table."""


def telea(frame: Frame) -> None:
    """Fill what is left from its rim by fast marching, radius `RADIUS`; of a frame unknown altogether make mid-grey."""
    _inpaint(frame, cv2.INPAINT_TELEA)


def navier_stokes(frame: Frame) -> None:
    """Fill what is left from its rim by the Navier-Stokes equations, radius `RADIUS`; of a frame unknown altogether make mid-grey."""
    _inpaint(frame, cv2.INPAINT_NS)


def median(frame: Frame) -> None:
    """Fill each pixel with the median of what `REACH` frames before and after know of it.

    A pixel unknown in all of them is taken from the nearest frame of the span that knows it, and is Telea's where none does. The median
    of an even number of values is the mean of the middle two, rounded.
    """
    number = frame.number
    near = slice(max(number - REACH, 0), number + REACH + 1)
    for pixels in _portions(frame.left):
        known, colours = _seen(frame.span, pixels)
        seen = known[near].any(0)
        frame.settle(pixels[seen], _median(colours[near, seen], known[near, seen]), PROPAGATED)
        before, after = _around(known, number)
        first = (before >= 0) & ((after < 0) | (number - before <= after - number))
        far = np.flatnonzero(~seen & known.any(0))
        frame.settle(pixels[far], colours[np.where(first, before, after)[far], far], PROPAGATED)
    telea(frame)


def average(frame: Frame) -> None:
    """Fill each pixel with the blend, linear in time, of the nearest frames before and after that know it, or with the only one's.

    A frame that is wholly unknown between two known ones is thus their blend. What no frame of the span knows is Telea's.
    """
    number = frame.number
    for pixels in _portions(frame.left):
        known, colours = _seen(frame.span, pixels)
        found = np.flatnonzero(known.any(0))
        before, after = (places[found] for places in _around(known, number))
        before, after = np.where(before < 0, after, before), np.where(after < 0, before, after)
        later = ((number - before) / np.maximum(after - before, 1)).astype(np.float32)[:, None]
        one, other = (colours[places, found].astype(np.float32) for places in (before, after))
        frame.settle(pixels[found], np.rint(one + later * (other - one)), PROPAGATED)
    telea(frame)


def nearest(frame: Frame) -> None:
    """Fill each pixel with that of the nearest frame of the span that knows it, of two the earlier; what none knows is Telea's."""
    for pixels in _portions(frame.left):
        known, colours = _seen(frame.span, pixels)
        found = np.flatnonzero(known.any(0))
        before, after = (places[found] for places in _around(known, frame.number))
        first = (before >= 0) & ((after < 0) | (frame.number - before <= after - frame.number))
        frame.settle(pixels[found], colours[np.where(first, before, after), found], PROPAGATED)
    telea(frame)


def between(interpolate: Interpolate) -> Callable[[Frame], None]:
    """Make the rule that fills a frame from the nearest wholly known frames before and after it by `interpolate`.

    A frame without such a frame on both sides is filled as `average` does.
    """

    def fill(frame: Frame) -> None:
        span, number = frame.span, frame.number
        whole = ~np.any(span.mask, axis=(1, 2), keepdims=True)[..., 0]  # t 1
        (before,), (after,) = _around(whole, number)
        if before < 0 or after < 0:
            average(frame)
            return
        made = interpolate(span.frames[before], span.frames[after], float((number - before) / (after - before)))
        hole = np.flatnonzero(frame.left)
        frame.settle(hole, made.reshape(-1, 3)[hole], GENERATED)

    return fill


def linear(frame: Frame) -> None:
    """Fill a frame along motion in a straight line (optical flow by DIS) from the wholly known frames nearest to it.

    Between two of them the motion from one to the other is followed by the family `flow`; outside, the motion of the nearest two on the
    one side goes on. With fewer than two, `average` fills.
    """
    made = go_on(frame.span.frames, np.flatnonzero(~frame.span.mask.any((1, 2))), frame.number)
    if made is None:
        average(frame)
        return
    hole = np.flatnonzero(frame.left)
    frame.settle(hole, made.reshape(-1, 3)[hole], PROPAGATED)


def _inpaint(frame: Frame, method: int) -> None:
    left = np.flatnonzero(frame.left)
    if not left.size:
        return
    if left.size == frame.left.size:
        frame.settle(left, np.full((left.size, 3), GREY), GENERATED)
        return
    made = cv2.inpaint(frame.picture, frame.left.view(np.uint8), RADIUS, method)
    frame.settle(left, made.reshape(-1, 3)[left], GENERATED)


def _portions(hole: NDArray[np.bool_]) -> Iterator[Places]:
    pixels = np.flatnonzero(hole)
    for start in range(0, pixels.size, PORTION):
        yield pixels[start : start + PORTION]


def _seen(span: Span, pixels: Places) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Return where the span's frames know some pixels, bool T N, and their colours, uint8 T N 3."""
    count = len(span.frames)
    return ~span.mask.reshape(count, -1)[:, pixels], span.frames.reshape(count, -1, 3)[:, pixels]


def _median(colours: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    # What is unknown sorts to the end as 255, where a known 255 among it is the same value.
    ordered = np.sort(np.where(known[..., None], colours, np.uint8(255)), axis=0)
    counts, columns = known.sum(0), np.arange(known.shape[1])
    middle: NDArray[np.float32] = np.rint(
        (ordered[(counts - 1) // 2, columns].astype(np.float32) + ordered[counts // 2, columns].astype(np.float32)) / 2
    )
    return middle


def _around(known: NDArray[np.bool_], number: int) -> tuple[Places, Places]:
    """Return for each pixel of `known` (bool T N) the nearest frames before and after `number` that know it, -1 where none does."""
    past, future = known[:number], known[number + 1 :]
    nothing = np.full(known.shape[1], -1)
    before = np.where(past.any(0), number - 1 - past[::-1].argmax(0), -1) if len(past) else nothing
    after = np.where(future.any(0), number + 1 + future.argmax(0), -1) if len(future) else nothing
    return before, after


def _rife() -> Filler:
    from framefill.weights.store import load, require_torch

    require_torch("the model 'rife' needs")
    from framefill.nets.rife import Interpolator, Rife

    net = Rife()
    net.load_state_dict(load("rife"))
    return Baseline("rife", between(Interpolator(net)), REACH)


def _auto_smooth() -> Filler:
    from framefill.families.propagate import Propagate
    from framefill.families.still import Smooth

    return Propagate("auto-smooth", Smooth())


BASELINES = {
    "copy": Family("leave the hole black", lambda: Baseline("copy", leave)),
    "telea": Family("each frame by itself from the rim of its hole, fast marching", lambda: Baseline("telea", telea)),
    "ns": Family("each frame by itself from the rim of its hole, Navier-Stokes", lambda: Baseline("ns", navier_stokes)),
    "auto-smooth": Family("auto as it is without a network: what no frame shows is filled smoothly", _auto_smooth),
    "median": Family("the median over time of what is known at the pixel", lambda: Baseline("median", median, REACH)),
    "nearest": Family("the nearest frame that knows the pixel", lambda: Baseline("nearest", nearest, REACH)),
    "average": Family("the blend of the nearest known before and after", lambda: Baseline("average", average, REACH)),
    "linear": Family("motion in a straight line between or beyond wholly known frames", lambda: Baseline("linear", linear, REACH)),
    "rife": Family("a frame from its known neighbours by the network RIFE; needs weights", _rife),
}
