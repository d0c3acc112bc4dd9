"""Propagation without a network: what some other frame shows is brought over, what no frame shows is made once and carried along.

Global motion, residual flow and its completion, composed paths, robust fusion and colour matching stand in `motion`; here they are put
together for a window of frames. Relatives: Huang et al., Temporally Coherent Completion of Dynamic Video, SIGGRAPH Asia 2016;
Gao et al., Flow-edge Guided Video Completion, ECCV 2020.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.families.anchors import Anchors
from framefill.families.base import PROPAGATED, Filled, Span, State
from framefill.families.far import FarFrames
from framefill.motion.flow import FlowMethod, dis
from framefill.motion.footage import Footage, Pair, pair_up, widen
from framefill.motion.fusion import fuse, match_rim
from framefill.motion.registration import Look, look_at
from framefill.motion.sources import KeyFrame, from_key_frames, gather, target_of

WINDOW, REACH = 20, 40  # frames
StillFill = Callable[[NDArray[np.uint8], NDArray[np.bool_]], NDArray[np.uint8]]  # picture H W 3, hole H W -> picture H W 3


class Propagate:
    """The family `propagate`; with `still`, a filler of single pictures, what no frame shows is filled too and carried along.

    One instance serves one clip: what it has worked out of a frame it keeps until the frame is out of reach. Results depend on the clip
    and the state alone, whatever was kept.
    """

    def __init__(self, name: str = "propagate", still: StillFill | None = None, flow: FlowMethod = dis) -> None:
        self.name = name
        self.window = WINDOW
        self.reach = REACH
        self._still = still
        self._flow = flow
        self._looked: dict[int, tuple[NDArray[np.uint8], Look]] = {}
        self._paired: dict[int, Pair] = {}

    def fill_span(self, span: Span, state: State | None) -> tuple[Filled, State]:
        """Fill the window of a span; `state` is what the window before returned."""
        with _one_thread_each(), ThreadPoolExecutor(os.cpu_count()) as pool:
            footage = self._footage(span, pool)
            first = span.start
            looks = [self._looked[first + offset][1] for offset in range(len(span.frames))]
            far = FarFrames.load(state)
            window = range(span.fill_start - first, span.fill_stop - first)
            key_frames = far.seen_from(window.start, footage, looks, first)
            work = _Window(span, footage, window, key_frames, self.reach)
            list(pool.map(work.propagate, range(len(window))))
            anchors = Anchors.load(state, first, looks)
            if self._still is not None:
                anchors.fill(work.out, work.provenance, work.left, window, footage, self._still)
            last = window.stop - 1
            kept = far.keep(span.fill_start, span.frames[window.start], footage.blocked[window.start], self.reach)
            state = {**kept, **anchors.keep(last, footage, first)}
        return Filled(work.out, work.provenance, work.left), state

    def _footage(self, span: Span, pool: ThreadPoolExecutor) -> Footage:
        """Work out how the span's frames move, as far as that is not known from the span before."""
        indices = range(span.start, span.start + len(span.frames))
        self._looked = {index: seen for index, seen in self._looked.items() if index in indices}
        self._paired = {index: pair for index, pair in self._paired.items() if index in indices}

        def look(index: int) -> None:
            mask = span.mask[index - span.start]
            blocked = widen(mask)
            self._looked[index] = blocked, look_at(span.frames[index - span.start], blocked > 0)

        def pair(index: int) -> None:
            (blocked, here), (blocked_next, there) = self._looked[index], self._looked[index + 1]
            frames = span.frames[index - span.start], span.frames[index - span.start + 1]
            self._paired[index] = pair_up(*frames, (blocked, blocked_next), (here, there), self._flow)

        list(pool.map(look, [index for index in indices if index not in self._looked]))
        list(pool.map(pair, [index for index in indices[:-1] if index not in self._paired]))
        return Footage(span.frames, [self._looked[index][0] for index in indices], [self._paired[index] for index in indices[:-1]])


class _Window:
    """The frames being filled: `out` uint8 T H W 3, `provenance` uint8 T H W, `left` bool T H W, all of the window only."""

    def __init__(self, span: Span, footage: Footage, window: range, key_frames: list[KeyFrame], reach: int) -> None:
        frames = slice(window.start, window.stop)
        self.out = span.frames[frames].copy()
        self.left = span.mask[frames].copy()
        self.provenance = np.zeros(self.left.shape, np.uint8)
        self._footage, self._window, self._key_frames, self._reach = footage, window, key_frames, reach

    def propagate(self, number: int) -> None:
        """Bring over what other frames show, for one frame of the window."""
        index = self._window[number]
        frame, blocked = self._footage.frames[index], self._footage.blocked[index]
        if not blocked.any():
            return
        target = target_of(index, frame, blocked)
        area, place = target.region.area, target.place
        hole = self.left[number][area]
        sources = gather(self._footage, target, self._reach)
        if self._key_frames:
            missing = hole[place] & ~np.logical_or.reduce([source.usable for source in sources], axis=0)
            sources += from_key_frames(self._footage, self._key_frames, target, missing) if missing.any() else []
        colours, seen = fuse(sources, target)
        made, valid = frame[area].astype(np.float32), np.zeros(hole.shape, np.bool_)
        made[place], valid[place] = colours, seen
        filled = hole & valid
        matched = np.rint(np.clip(match_rim(made, valid, frame[area], blocked[area] == 0), 0, 255))
        self.out[number][area][filled] = matched[filled]
        self.provenance[number][area][filled] = PROPAGATED
        hole[filled] = False


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let OpenCV work in the calling thread: frames are worked on side by side, and DIS depends on the number of its stripes."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
