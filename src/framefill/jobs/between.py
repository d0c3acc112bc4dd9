"""More frames a second: new frames between those of a file, by flow or by a net, in constant memory; sound and the rest follow.

Every frame of the source stays where it was in time and, with a factor, keeps its own samples. One process, one pass: what was written
of an interrupted run is removed, and the run begins anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from framefill.errors import UnreadableMedia, UsageError
from framefill.families import FAMILIES, TRAINED, get, load
from framefill.families.trained import Sampling, Trained, enlarging
from framefill.jobs.extend import MadeRecord
from framefill.jobs.gaps import Timing, by_flow, by_net, even_parts, keeps_durations, refuse_between
from framefill.jobs.runner import Progress
from framefill.jobs.targets import check_output
from framefill.media.reader import VideoReader, open_video
from framefill.media.video import Frame
from framefill.media.writer import VideoWriter

MOST = 32  # new frames between two of the source; beyond, nothing that is made has much to do with what was there


@dataclass(frozen=True)
class BetweenSettings:
    """What to interpolate: either `factor` times as many frames, or a constant rate of `fps` frames a second.

    `model` is "flow" or a trained one, run as `sampling` says. Raises UsageError for neither or both, a factor below 2 or above 32, a rate
    that is not above 0.
    """

    input: str | Path
    output: str | Path
    factor: int | None = None
    fps: Fraction | None = None
    model: str = "flow"
    sampling: Sampling | None = None
    codec: str = "auto"
    crf: int | None = None
    lossless: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if (self.factor is None) == (self.fps is None):
            raise UsageError("interpolate needs one of --factor and --fps, such as --factor 2")
        if self.factor is not None:
            check_factor(self.factor)
        if self.fps is not None and self.fps <= 0:
            raise UsageError(f"--fps {self.fps}: give a rate above 0, such as 60")


def check_factor(factor: int) -> None:
    """Raise UsageError for a number of frames to a gap that is none."""
    if not 2 <= factor <= MOST:
        raise UsageError(f"--factor {factor}: give 2 to {MOST}")


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


def interpolate(settings: BetweenSettings, progress: Callable[[Progress], None] = lambda _: None) -> MadeRecord:
    """Write `settings.output` with more frames a second. A net that was not trained for that is refused first of all.

    Raises UsageError, WeightsError, UnreadableMedia or UnwritableMedia; nothing half stays.
    """
    begin = time.perf_counter()
    check_output(settings.output, [settings.input], settings.overwrite)
    trained = between_model(settings.model, settings.sampling, settings.factor)
    with open_video(settings.input) as reader:
        meta = reader.meta
        rate, parts = _rate(settings, meta.fps, meta.time_base)
        finer = VideoReader(reader.path, _Finer(reader, parts, rate))
        step = None if settings.fps is None else int(1 / settings.fps / finer.meta.time_base)
        note = None if trained is None else enlarging(trained, meta.height, meta.width)
        notes = () if note is None else (note,)
        made = written = 0
        with VideoWriter(settings.output, finer, codec=settings.codec, crf=settings.crf, lossless=settings.lossless) as writer:
            timing = Timing(finer.meta.start_pts, settings.factor, step, keeps_durations(writer.plan))
            if trained is None:
                frames = by_flow(finer, timing)
            else:
                frames = by_net(finer, timing, trained, even_parts(timing, meta.fps, rate, trained.length))
            for frame, new in frames:
                nothing = None if new else np.zeros(frame.rgb.shape[:2], np.bool_)  # none of its samples is made: they stay the decoder's
                writer.write(replace(frame, index=written), frame.rgb, nothing)
                written, made = written + 1, made + new
                progress(Progress(written, None, (*notes, *(f"warning: {warning}" for warning in finer.warnings))))
            if written < 2:
                raise UnreadableMedia(f"{settings.input} has a single frame; there is nothing to go to")
        warnings = tuple(dict.fromkeys((*finer.warnings, *writer.warnings)))
    name = settings.model if trained is None else trained.name
    return MadeRecord(Path(settings.output), written, made, time.perf_counter() - begin, name, notes, warnings)


def between_model(name: str, sampling: Sampling | None, factor: int | None) -> Trained | None:
    """Make the net called `name`, or None for the flow, which needs none.

    Raises UsageError for a family that makes no frames between others, and for a net that was not trained for it; WeightsError as `load`.
    """
    if name == "flow":
        get(name, sampling)  # refuses a sampling
        return None
    if name in FAMILIES and name not in TRAINED:
        raise UsageError(f"{name} makes no frames between known ones; --model flow does, and so does {TRAINED[0]}")
    trained = load(name, sampling or Sampling())
    refuse_between(trained, factor)
    return trained


def _rate(settings: BetweenSettings, fps: Fraction | None, time_base: Fraction) -> tuple[Fraction | None, int]:
    """Return the rate to be written, if known, and by how much the time base must be finer."""
    if settings.factor is not None:
        return (None if fps is None else fps * settings.factor), settings.factor
    assert settings.fps is not None
    if fps is not None and not fps < settings.fps <= fps * MOST:
        raise UsageError(f"--fps {settings.fps}: {settings.input} has {float(fps):g} frames/s; give more, and at most {MOST} times as many")
    return settings.fps, (1 / settings.fps / time_base).denominator
