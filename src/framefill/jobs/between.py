"""More frames a second: new frames between those of a file, along the optical flow, in constant memory; sound and the rest follow.

Every frame of the source stays where it was in time and, with a factor, keeps its own samples. One process, one pass: what was written
of an interrupted run is removed, and the run begins anew.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from framefill.errors import UnreadableMedia, UsageError
from framefill.families.flow_between import between, meet
from framefill.families.threads import one_thread_each
from framefill.jobs.runner import Progress
from framefill.media.reader import Source, VideoReader, open_video
from framefill.media.video import Frame
from framefill.media.writer import VideoWriter

MOST = 32  # new frames between two of the source; beyond, nothing that is made has much to do with what was there


@dataclass(frozen=True)
class BetweenSettings:
    """What to interpolate: either `factor` times as many frames, or a constant rate of `fps` frames a second.

    Raises UsageError for neither or both, a factor below 2 or above 32, or a rate that is not above 0.
    """

    input: str | Path
    output: str | Path
    factor: int | None = None
    fps: Fraction | None = None
    codec: str = "auto"
    crf: int | None = None
    lossless: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if (self.factor is None) == (self.fps is None):
            raise UsageError("interpolate needs one of --factor and --fps, such as --factor 2")
        if self.factor is not None and not 2 <= self.factor <= MOST:
            raise UsageError(f"--factor {self.factor}: give 2 to {MOST}")
        if self.fps is not None and self.fps <= 0:
            raise UsageError(f"--fps {self.fps}: give a rate above 0, such as 60")


@dataclass(frozen=True)
class BetweenRecord:
    """What was done: frames read and written, how many of them are new, wall time in seconds, and what the user should know."""

    output: Path
    frames: int
    made: int
    seconds: float
    warnings: tuple[str, ...]


class _Finer:
    """A source with a time base that is finer by `parts`, so that frames fit between its own."""

    def __init__(self, reader: VideoReader, parts: int, rate: Fraction | None) -> None:
        meta = reader.meta
        self._reader, self._parts = reader, parts
        self.meta = replace(meta, time_base=meta.time_base / parts, start_pts=meta.start_pts * parts, fps=rate, num_frames=None)
        self.warnings = reader.warnings

    def frames(self, start: int) -> Iterator[Frame]:
        """Give the frames with their times in the finer base."""
        for frame in self._reader.frames(start):
            yield replace(frame, pts=frame.pts * self._parts, duration=frame.duration * self._parts)


def interpolate(settings: BetweenSettings, progress: Callable[[Progress], None] = lambda _: None) -> BetweenRecord:
    """Write `settings.output` with more frames a second. Raises UsageError, UnreadableMedia or UnwritableMedia; nothing half stays."""
    begin = time.perf_counter()
    output = Path(settings.output)
    if output.exists() and not settings.overwrite and not (output.is_dir() and not any(output.iterdir())):
        raise UsageError(f"{output} exists; choose another name or pass --overwrite")
    with open_video(settings.input) as reader:
        meta = reader.meta
        rate, parts = _rate(settings, meta.fps, meta.time_base)
        source: Source = _Finer(reader, parts, rate)
        finer = VideoReader(reader.path, source)
        made = written = 0
        with VideoWriter(settings.output, finer, codec=settings.codec, crf=settings.crf, lossless=settings.lossless) as writer:
            for frame, new in _frames(finer, settings):
                nothing = None if new else np.zeros(frame.rgb.shape[:2], np.bool_)  # none of its samples is made: they stay the decoder's
                writer.write(replace(frame, index=written), frame.rgb, nothing)
                written, made = written + 1, made + new
                progress(Progress(written, None, tuple(finer.warnings)))
            if written < 2:
                raise UnreadableMedia(f"{settings.input} has a single frame; there is nothing to go to")
        warnings = (*finer.warnings, *writer.warnings)
    return BetweenRecord(output, written, made, time.perf_counter() - begin, tuple(dict.fromkeys(warnings)))


def _rate(settings: BetweenSettings, fps: Fraction | None, time_base: Fraction) -> tuple[Fraction | None, int]:
    """Return the rate to be written, if known, and by how much the time base must be finer."""
    if settings.factor is not None:
        return (None if fps is None else fps * settings.factor), settings.factor
    assert settings.fps is not None
    if fps is not None and not fps < settings.fps <= fps * MOST:
        raise UsageError(f"--fps {settings.fps}: {settings.input} has {float(fps):g} frames/s; give more, and at most {MOST} times as many")
    return settings.fps, (1 / settings.fps / time_base).denominator


def _frames(reader: VideoReader, settings: BetweenSettings) -> Iterator[tuple[Frame, bool]]:
    """Give all frames to be written, in order, and whether each is new. Gaps are worked on side by side, a few ahead of the writer."""
    step = None if settings.fps is None else int(1 / settings.fps / reader.meta.time_base)
    cores = os.cpu_count() or 1
    with one_thread_each(), ThreadPoolExecutor(cores) as pool:
        waiting: deque[Future[list[tuple[Frame, bool]]]] = deque()
        last = None
        for frame in reader:
            if last is not None:
                waiting.append(pool.submit(_gap, last, frame, _times(last, frame, reader.meta.start_pts, settings.factor, step)))
            last = frame
            while len(waiting) > cores:
                yield from waiting.popleft().result()
        for future in waiting:
            yield from future.result()
        if last is not None:
            yield from _end(last, reader.meta.start_pts, step)


def _times(first: Frame, second: Frame, start: int, factor: int | None, step: int | None) -> range:
    """Return the times from the first frame on, and before the second, at which there is to be a frame."""
    if factor is not None:
        return range(first.pts, second.pts, (second.pts - first.pts) // factor)
    assert step is not None
    return range(start + -(-(first.pts - start) // step) * step, second.pts, step)


def _gap(first: Frame, second: Frame, times: range) -> list[tuple[Frame, bool]]:
    """Make the frames of one gap, the first of the two among them where it is wanted."""
    meeting, frames = None, []
    for pts in times:
        if pts == first.pts:
            frames.append((replace(first, duration=times.step), False))
            continue
        meeting = meeting or meet(first.rgb, second.rgb)
        share = (pts - first.pts) / (second.pts - first.pts)
        frames.append((replace(first, rgb=between(meeting, share), pts=pts, duration=times.step, native=None), True))
    return frames


def _end(last: Frame, start: int, step: int | None) -> Iterator[tuple[Frame, bool]]:
    """Give the last frame, held on the grid of a constant rate for as long as it was shown."""
    if step is None:
        yield last, False
        return
    for pts in range(start + -(-(last.pts - start) // step) * step, max(last.pts + last.duration, last.pts + 1), step):
        yield replace(last, pts=pts, duration=step), False
