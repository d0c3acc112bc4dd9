"""The frames that stand in the gaps between those of a clip, at their times: by the flow between two, or by a trained net."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.families.flow_between import between, meet
from framefill.families.known import refuse_untrained
from framefill.families.larger import larger
from framefill.families.threads import one_thread_each
from framefill.families.trained import Frames, Trained, resized
from framefill.media.codecs import Plan
from framefill.media.video import Frame
from framefill.motion.registration import look_at, register


@dataclass(frozen=True)
class Timing:
    """When frames are to be shown, in ticks: `factor` in every gap, or one every `step` from `start` on.

    ends: whether the target keeps how long the last frame is shown.
    """

    start: int
    factor: int | None
    step: int | None
    ends: bool

    def times(self, first: Frame, second: Frame) -> range:
        """The times from the first frame on, and before the second, at which there is to be a frame."""
        if self.factor is not None:
            return range(first.pts, second.pts, (second.pts - first.pts) // self.factor)
        assert self.step is not None
        return range(self._grid(first.pts, self.step), second.pts, self.step)

    def end(self, last: Frame) -> Iterator[Frame]:
        """Give the last frame, shown as long as it was: again and again where the target keeps no time of its own for it."""
        end = max(last.pts + last.duration, last.pts + 1)
        if self.step is not None:
            times = range(self._grid(last.pts, self.step), end, self.step)
        elif self.factor is None or self.ends:
            yield last
            return
        else:
            times = range(last.pts, end, max(1, last.duration // self.factor))
        yield from (replace(last, pts=pts, duration=times.step) for pts in times)

    def _grid(self, pts: int, step: int) -> int:
        return self.start + -(-(pts - self.start) // step) * step


def keeps_durations(plan: Plan) -> bool:
    """Whether a target holds how long its last frame is shown, or leaves that to its rate."""
    return plan.kind != "stream" or (plan.container.variable and plan.container.muxer != "mpegts")


def by_flow(clip: Iterable[Frame], timing: Timing) -> Iterator[tuple[Frame, bool]]:
    """Give all frames to be written, in order, and whether each is new. Gaps are worked on side by side, a few ahead of the writer."""
    cores = os.cpu_count() or 1
    with one_thread_each(), ThreadPoolExecutor(cores) as pool:
        waiting: deque[Future[list[tuple[Frame, bool]]]] = deque()
        last = None
        for frame in clip:
            if last is not None:
                waiting.append(pool.submit(_by_flow, last, frame, timing.times(last, frame)))
            last = frame
            while len(waiting) > cores:
                yield from waiting.popleft().result()
        for future in waiting:
            yield from future.result()
        if last is not None:
            yield from ((frame, False) for frame in timing.end(last))


def _by_flow(first: Frame, second: Frame, times: range) -> list[tuple[Frame, bool]]:
    """Make the frames of one gap, the first of the two among them where it is wanted."""
    meeting, frames = None, []
    for pts in times:
        if pts == first.pts:
            frames.append((replace(first, duration=times.step), False))
            continue
        meeting = meeting or meet(first.rgb, second.rgb)
        share = (pts - first.pts) / (second.pts - first.pts)
        frames.append((_new(first, between(meeting, share), pts, times.step), True))
    return frames


def refuse_between(trained: Trained, factor: int | None) -> None:
    """Raise UsageError when a net cannot make the `factor` - 1 frames of a gap (None: by a rate), for want of length or training."""
    most = trained.length - 1
    if most < 2 or (factor or 0) > most:
        able = f"give --factor {most} at most, or --model flow" if most >= 2 else "--model flow makes frames between known ones"
        raise UsageError(
            f"{trained.name} sees {trained.length} frames at a time, {max(0, most - 1)} of them between two known ones; {able}"
        )
    refuse_untrained(np.array([False, True, False])[:, None, None], trained.tasks, trained.name)


def by_net(clip: Iterable[Frame], timing: Timing, trained: Trained, parts: int) -> Iterator[tuple[Frame, bool]]:
    """The same by a trained net, which divides every gap evenly into `parts`, as many gaps at once as it can see.

    Where the times that are wanted lie otherwise, the nearest of its frames are shown.
    """
    run: list[Frame] = []
    number = 0
    for frame in clip:
        cut = bool(run) and _cut(run[-1], frame)
        if cut or len(run) * parts >= trained.length:
            yield from _by_net(run, timing, trained, parts, number)
            number += 1
            if cut:
                yield from _across(run[-1], frame, timing)
            run = [] if cut else run[-1:]
        run.append(frame)
    if run:
        yield from _by_net(run, timing, trained, parts, number)
        yield from ((frame, False) for frame in timing.end(run[-1]))


def even_parts(timing: Timing, fps: Fraction | None, rate: Fraction | None, length: int) -> int:
    """Into how many parts a net that sees `length` frames divides a gap: as many as the wanted times fall on, else as many as it can.

    `fps` is the source's rate, `rate` the one that is wanted.
    """
    if timing.factor is not None:
        return timing.factor
    most = length - 1
    exact = most + 1 if fps is None or rate is None else (fps / rate).denominator
    return exact if 2 <= exact <= most else most


def _by_net(run: Sequence[Frame], timing: Timing, trained: Trained, parts: int, number: int) -> Iterator[tuple[Frame, bool]]:
    """Give the frames from the first to before the last of a run of one shot."""
    height, width = run[0].rgb.shape[:2]
    clip = np.zeros(((len(run) - 1) * parts + 1, height, width, 3), np.uint8)
    clip[::parts] = np.stack([frame.rgb for frame in run])
    unknown = np.arange(len(clip)) % parts > 0
    made: Frames | None = None
    for gap, (first, second) in enumerate(pairwise(run)):
        times = timing.times(first, second)
        for pts in times:
            if pts == first.pts:
                yield replace(first, duration=times.step), False
                continue
            if made is None:
                small = trained.make(resized(clip, *trained.work_size(height, width)), unknown, (0, number), lambda _: None)
                made = larger(small, clip, unknown)
            share = (pts - first.pts) / (second.pts - first.pts)
            place = gap * parts + min(max(round(share * parts), 1), parts - 1)
            yield _new(first, made[place], pts, times.step), True


def _across(first: Frame, second: Frame, timing: Timing) -> Iterator[tuple[Frame, bool]]:
    """Fill the gap at a cut with the nearer of the two frames."""
    times = timing.times(first, second)
    for pts in times:
        nearer = first if 2 * pts < first.pts + second.pts else second
        yield (replace(first, duration=times.step), False) if pts == first.pts else (_new(first, nearer.rgb, pts, times.step), True)


def _cut(first: Frame, second: Frame) -> bool:
    nothing = np.zeros(first.rgb.shape[:2], np.bool_)
    return register(look_at(first.rgb, nothing), look_at(second.rgb, nothing)).cut


def _new(like: Frame, rgb: NDArray[np.uint8], pts: int, duration: int) -> Frame:
    return replace(like, rgb=rgb, pts=pts, duration=duration, native=None)
