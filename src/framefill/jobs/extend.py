"""Frames after the last one of a file, or before its first, made by a trained net; the file's own frames, times and sound stay.

One process, one pass: what was written of an interrupted run is removed, and the run begins anew.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UnwritableMedia, UsageError
from framefill.families import load
from framefill.families.larger import each_larger
from framefill.families.onward import most_shown, onward, refuse_onward
from framefill.families.trained import Frames, Sampling, Trained, enlarging, resized
from framefill.jobs.record import JsonValue
from framefill.jobs.runner import Progress
from framefill.jobs.targets import check_output
from framefill.media.reader import VideoReader, open_video
from framefill.media.video import Frame, VideoMeta
from framefill.media.writer import VideoWriter

AUDIBLE = 0.1  # seconds by which sound must outlast the picture to be worth a word: coders pad to whole blocks


@dataclass(frozen=True)
class ExtendSettings:
    """What to predict: `frames` new ones after the clip, or before it with `backward`, by a trained `model` run as `sampling` says.

    `fps` is for frames without times of their own (folders, patterns). Raises UsageError for less than one frame.
    """

    input: str | Path
    output: str | Path
    frames: int
    backward: bool = False
    model: str = "vdt-tiny"
    sampling: Sampling = field(default_factory=Sampling)
    fps: Fraction | None = None
    codec: str = "auto"
    crf: int | None = None
    lossless: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise UsageError(f"--frames is {self.frames}, expected 1 or more new frames")


@dataclass(frozen=True)
class MadeRecord:
    """What was done: frames written and how many of them are new, wall time in seconds, what was made how, and what went otherwise."""

    output: Path
    frames: int
    made: int
    seconds: float
    model: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """All that the user should know."""
        return *self.notes, *(f"warning: {warning}" for warning in self.warnings)

    @property
    def rate(self) -> float:
        """Frames written a second."""
        return self.frames / self.seconds

    def summary(self) -> dict[str, JsonValue]:
        """The object that `--json` prints."""
        return {
            "output": str(self.output),
            "frames": self.frames,
            "made": self.made,
            "seconds": round(self.seconds, 3),
            "model": self.model,
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


class _Longer:
    """A source with more frames than it has, and times that may lie before its start, for the writer to be planned by."""

    def __init__(self, reader: VideoReader, more: int) -> None:
        count = reader.meta.num_frames
        self.meta: VideoMeta = replace(reader.meta, num_frames=None if count is None else count + more)
        self.warnings = reader.warnings
        self.frames = reader.frames


def extend(settings: ExtendSettings, progress: Callable[[Progress], None] = lambda _: None) -> MadeRecord:
    """Write `settings.output`: the clip and the frames predicted for it. A net that was not trained for that is refused first of all.

    Raises UsageError, WeightsError, UnreadableMedia or UnwritableMedia; nothing half stays.
    """
    begin = time.perf_counter()
    check_output(settings.output, [settings.input], settings.overwrite)
    trained = load(settings.model, settings.sampling)
    refuse_onward(trained, trained.length, settings.frames, backward=settings.backward)
    with open_video(settings.input, settings.fps) as reader:
        run = _Run(settings, trained, reader, progress)
        writer = run.backwards() if settings.backward else run.forwards()
        warnings = tuple(dict.fromkeys((*reader.warnings, *writer.warnings)))
        seconds = time.perf_counter() - begin
        return MadeRecord(Path(settings.output), run.written, settings.frames, seconds, trained.name, tuple(run.notes), warnings)


class _Run:
    """One clip while it is made longer; `notes` are what the user should know of the new frames."""

    def __init__(self, settings: ExtendSettings, trained: Trained, reader: VideoReader, progress: Callable[[Progress], None]) -> None:
        self._settings, self._trained, self._reader, self._progress = settings, trained, reader, progress
        self._shown = most_shown(trained, settings.frames, settings.backward)
        meta = reader.meta
        self._sounds = [track.duration for track in meta.tracks if track.kind == "audio"]
        self._total = None if meta.num_frames is None else meta.num_frames + settings.frames
        self.notes = [note for note in (enlarging(trained, meta.height, meta.width), self._of_sound()) if note]
        self.written = 0

    def forwards(self) -> VideoWriter:
        """Write the clip, and then what follows it."""
        last: deque[Frame] = deque(maxlen=self._shown)
        with self._writer(Fraction(0)) as writer:
            for frame in self._reader:
                self._write_own(writer, frame)
                last.append(frame)
            end = last[-1].pts + last[-1].duration
            self._write_new(writer, chain.from_iterable(self._made(last)), end, last[-1].duration)
        return writer

    def backwards(self) -> VideoWriter:
        """Write what led to the clip, and then the clip."""
        passed = self._reader.frames()
        first = list(islice(passed, self._shown))
        start = first[0].pts - self._ticks(self._settings.frames, first[0].duration)
        with self._writer((first[0].pts - start) * self._reader.meta.time_base) as writer, TemporaryFile() as file:
            if writer.plan.kind == "stream" and not writer.plan.container.variable and self._sounds:
                raise UsageError(f"{self._settings.output}: AVI cannot begin its sound after the picture; use .mp4, .mov or .mkv")
            for window in self._made(first):
                _keep(file, window[::-1])  # they come from the last to the first, and may be more than memory holds
            self._write_new(writer, _backwards(file, self._settings.frames, first[0].rgb.shape), start, first[0].duration)
            for frame in self._reader:
                self._write_own(writer, frame)
        return writer

    def _made(self, known: Sequence[Frame]) -> Iterable[Frames]:
        """The new frames at the clip's size, window by window."""
        settings, meta = self._settings, self._reader.meta
        near = np.stack([frame.rgb for frame in known])
        shown = resized(near, *self._trained.work_size(meta.height, meta.width))
        done = self.written

        def told(frames: float) -> None:
            self._tell(done + int(frames))

        windows = onward(self._trained, shown, settings.frames, 0, told, backward=settings.backward)
        return each_larger(windows, near, backward=settings.backward)

    def _writer(self, lead: Fraction) -> VideoWriter:
        settings = self._settings
        like = VideoReader(self._reader.path, _Longer(self._reader, settings.frames))
        return VideoWriter(settings.output, like, codec=settings.codec, crf=settings.crf, lossless=settings.lossless, lead=lead)

    def _write_own(self, writer: VideoWriter, frame: Frame) -> None:
        nothing = np.zeros(frame.rgb.shape[:2], np.bool_)  # none of its samples is made: they stay the decoder's
        writer.write(replace(frame, index=self.written), frame.rgb, nothing)
        self.written += 1
        self._tell(self.written)

    def _write_new(self, writer: VideoWriter, frames: Iterable[NDArray[np.uint8]], start: int, usual: int) -> None:
        for number, rgb in enumerate(frames):
            pts, end = (start + self._ticks(count, usual) for count in (number, number + 1))
            writer.write(Frame(self.written, rgb, pts, end - pts), rgb)
            self.written += 1

    def _ticks(self, frames: int, usual: int) -> int:
        """How long a number of new frames is shown: at the clip's mean rate, or each as long as the frame beside it."""
        meta = self._reader.meta
        return frames * usual if meta.fps is None else round(frames / (meta.fps * meta.time_base))

    def _of_sound(self) -> str | None:
        if not self._sounds:
            return None
        if self._settings.backward:
            return "the sound begins with the clip's own frames: the new ones before them are silent"
        beyond = max(duration or 0.0 for duration in self._sounds) - (self._reader.meta.duration or 0.0)
        if beyond > AUDIBLE:
            return f"the sound plays on over the new frames for the {beyond:.2f} s that it is longer than the picture; then they are silent"
        return "the sound ends with the clip's own frames: the new ones after them are silent"

    def _tell(self, done: int) -> None:
        self._progress(Progress(done, self._total, (*self.notes, *(f"warning: {line}" for line in self._reader.warnings))))


def _keep(file: BinaryIO, frames: Frames) -> None:
    try:
        file.write(frames.tobytes())
        file.flush()
    except OSError as error:
        room = f"{gettempdir()} has no room for the frames before the clip ({error.strerror})"
        raise UnwritableMedia(f"{room}; set TMPDIR to a folder that has, or give fewer --frames") from error


def _backwards(file: BinaryIO, count: int, shape: tuple[int, ...]) -> Iterator[NDArray[np.uint8]]:
    """Read `count` pictures of a `shape` from the end of a file to its beginning."""
    size = math.prod(shape)
    for number in reversed(range(count)):
        file.seek(number * size)
        yield np.frombuffer(file.read(size), np.uint8).reshape(shape)
