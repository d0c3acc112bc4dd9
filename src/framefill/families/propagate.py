"""Propagation without a network: what some other frame shows is brought over, what no frame shows is made once and carried along.

Global motion, residual flow and its completion, composed paths, robust fusion and colour matching stand in `motion`; here they are put
together for a window of frames. Relatives: Huang et al., Temporally Coherent Completion of Dynamic Video, SIGGRAPH Asia 2016;
Gao et al., Flow-edge Guided Video Completion, ECCV 2020.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from framefill.families.anchors import Anchors
from framefill.families.base import PROPAGATED, Filled, Span, State
from framefill.families.far import FarFrames
from framefill.families.still import Smooth, StillFill
from framefill.families.threads import one_thread_each
from framefill.families.work import Work
from framefill.motion.flow import FlowMethod, dis
from framefill.motion.footage import Footage, Pair, bridge, pair_up, widen
from framefill.motion.fusion import fuse, match_rim
from framefill.motion.registration import Look, look_at
from framefill.motion.sources import KeyFrame, from_key_frames, gather, target_of
from framefill.motion.standing import median_of

WINDOW, REACH = 20, 40  # frames


class Propagate:
    """The family `propagate`; with `still`, a filler of single pictures, what no frame shows is filled too and carried along.

    One instance serves one clip: what it has worked out of a frame it keeps until the frame is out of reach. Results depend on the clip
    and the state alone, whatever was kept.
    """

    def __init__(self, name: str, still: StillFill | None, flow: FlowMethod = dis) -> None:
        self.name = name
        self.window = WINDOW
        self.reach = REACH
        self._still = still
        self._flow = flow
        self._looked: dict[int, tuple[NDArray[np.uint8], Look]] = {}
        self._paired: dict[int, Pair] = {}

    @property
    def memory(self) -> int:
        """Bytes that filling single pictures takes."""
        return 0 if self._still is None else self._still.memory

    def lighter(self) -> Propagate:
        """The same with the smooth fill for single pictures, if they are filled at all."""
        return Propagate(self.name, None if self._still is None else Smooth(), self._flow)

    def fill_span(self, span: Span, state: State | None) -> tuple[Filled, State]:
        """Fill the window of a span; `state` is what the window before returned."""
        with one_thread_each(), ThreadPoolExecutor(os.cpu_count()) as pool:
            footage = self._footage(span, pool)
            first = span.start
            looks = [self._looked[first + offset][1] for offset in range(len(span.frames))]
            far = FarFrames.load(state)
            work = Work(span, footage)
            start, last = work.window.start, work.window.stop - 1
            key_frames = far.seen_from(start, footage, looks, first)
            list(pool.map(lambda number: self._propagate(number, work, key_frames), range(len(work.window))))
            # What has been propagated counts as seen from now on, else what lies beyond the reach of a key frame would be forgotten.
            seen = work.out[0].copy(), widen(work.left[0]) | np.where(span.mask[start], np.uint8(0), footage.blocked[start])
            anchors = Anchors.load(state, first, looks)
            if self._still is not None:
                anchors.fill(work, self._still)
            kept = far.keep(span.fill_start, *seen, self.reach)
            return work.filled(), {**kept, **anchors.keep(last, footage, first)}

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
        pairs = bridge([self._paired[index] for index in indices[:-1]], [self._looked[index][1] for index in indices])
        return Footage(span.frames, [self._looked[index][0] for index in indices], pairs)

    def _propagate(self, number: int, work: Work, key_frames: list[KeyFrame]) -> None:
        """Bring over what other frames show, for one frame of the window."""
        footage, index = work.footage, work.window[number]
        frame, blocked = footage.frames[index], footage.blocked[index]
        if not blocked.any():
            return
        target = target_of(index, frame, blocked)
        region, place = target.region, target.place
        hole = work.hole(number, region)
        sources = gather(footage, target, self.reach)
        if key_frames:
            missing = hole[place] & ~np.logical_or.reduce([source.usable for source in sources], axis=0)
            sources += from_key_frames(footage, key_frames, target, missing) if missing.any() else []
        colours, seen = fuse(sources, target, median_of(footage, target, self.reach))
        made, valid = frame[region.area].astype(np.float32), np.zeros(hole.shape, np.bool_)
        made[place], valid[place] = colours, seen
        matched = match_rim(made, valid, frame[region.area], blocked[region.area] == 0)
        work.settle(number, region, hole & valid, matched, PROPAGATED)
