"""Clips from noise, or from one picture, made by a trained net and written as files, one after the other.

A clip follows from the model, the seed and its number alone: the third of five is the same as the third alone. Run again, the same command
makes what is not there yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.families import load
from framefill.families.larger import each_larger
from framefill.families.onward import onward, refuse_onward
from framefill.families.trained import Frames, Sampling, Trained, enlarging, resized
from framefill.jobs.batch import make_folder
from framefill.jobs.extend import MadeRecord
from framefill.jobs.runner import Progress
from framefill.jobs.targets import check_output
from framefill.media.codecs import CONTAINERS, plan_output
from framefill.media.reader import open_video
from framefill.media.video import Frame, VideoMeta
from framefill.media.writer import VideoWriter

LEAST_SIDE, MOST_SIDE, MOST_SHAPE = 8, 4096, 4  # pixels, and the longer side by the shorter
FULL_RANGE, RGB_MATRIX = 2, 0


@dataclass(frozen=True)
class GenerateSettings:
    """What to make: `count` clips of `frames` frames at `fps`, from noise or all from the picture `image`, their first frame.

    `output` is the file, or with more than one clip the folder of 000.mp4, 001.mp4 and so on. `first` is the number of the first clip.
    `size` is (width, height) in pixels; None: the picture's, or what the net was trained on. Raises UsageError for what cannot be meant.
    """

    output: str | Path
    frames: int
    count: int = 1
    first: int = 0
    image: str | Path | None = None
    size: tuple[int, int] | None = None
    fps: Fraction = Fraction(8)
    model: str = "vdt-tiny"
    sampling: Sampling = field(default_factory=Sampling)
    codec: str = "auto"
    crf: int | None = None
    lossless: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.image is not None and self.frames < 2:
            raise UsageError(f"--frames is {self.frames}, expected 2 or more: the picture itself is the first")
        for option, value, least in (("--frames", self.frames, 1), ("--count", self.count, 1), ("--first", self.first, 0)):
            if value < least:
                raise UsageError(f"{option} is {value}, expected {least} or more")
        if self.size is None:
            return
        if self.image is not None:
            raise UsageError("a clip that begins with a picture has the picture's size; leave --size out")
        short, long = sorted(self.size)
        if not (short >= LEAST_SIDE and long <= MOST_SIDE and long <= MOST_SHAPE * short):
            raise UsageError(
                f"--size {self.size[0]}x{self.size[1]}: give sides of {LEAST_SIDE} to {MOST_SIDE} pixels, one at most {MOST_SHAPE} times "
                "the other"
            )


def generate(settings: GenerateSettings, progress: Callable[[Progress], None] = lambda _: None) -> Iterator[MadeRecord]:
    """Make the clips and give each one's record once it is written. A net that was not trained for that is refused before the first.

    Of several clips, one that is there already is left as it is and not given, unless `overwrite`.
    Raises UsageError, WeightsError, UnreadableMedia or UnwritableMedia; no half clip stays.
    """
    outputs = _outputs(settings)
    trained = _trained(settings, settings.image is not None)
    picture = _nothing(settings, trained) if settings.image is None else _picture(settings.image)
    run = _Run(settings, trained, picture, progress)
    for output in outputs.values():
        plan_output(output, run.meta, codec=settings.codec, crf=settings.crf, lossless=settings.lossless)
    if settings.count > 1:
        make_folder(Path(settings.output))
    for number, output in outputs.items():
        if settings.count > 1 and Path(output).exists() and not settings.overwrite:
            run.skip(output)
        else:
            yield run.clip(number, output)


def made_in_memory(settings: GenerateSettings, image: Frames | None) -> Frames:
    """Make the first clip of `settings` in memory, uint8 T H W 3, after the picture `image` (uint8 1 H W 3) if there is one."""
    trained = _trained(settings, image is not None)
    picture = _nothing(settings, trained) if image is None else image
    return np.stack(list(_frames(settings, trained, picture, settings.first, lambda _: None)))


def _trained(settings: GenerateSettings, pictured: bool) -> Trained:
    trained = load(settings.model, settings.sampling)
    refuse_onward(trained, int(pictured), settings.frames - int(pictured))
    return trained


def _frames(
    settings: GenerateSettings, trained: Trained, picture: Frames, number: int, told: Callable[[float], None]
) -> Iterator[NDArray[np.uint8]]:
    """The frames of a clip, H W 3, the picture first if there is one."""
    height, width = picture.shape[1:3]
    shown = resized(picture, *trained.work_size(height, width))
    yield from picture
    windows = onward(trained, shown, settings.frames - len(picture), number, told)
    larger = each_larger(windows, picture) if len(picture) else (resized(window, height, width) for window in windows)
    yield from chain.from_iterable(larger)


class _Run:
    """Clips of one shape while they are made; `picture` uint8 T H W 3 is their first frame, or has none."""

    def __init__(self, settings: GenerateSettings, trained: Trained, picture: Frames, progress: Callable[[Progress], None]) -> None:
        self._settings, self._trained, self._picture, self._progress = settings, trained, picture, progress
        height, width = picture.shape[1:3]
        self.meta = VideoMeta(
            width, height, time_base=1 / settings.fps, fps=settings.fps, num_frames=settings.frames, color_range=FULL_RANGE,
            color_space=RGB_MATRIX, kind="images",
        )  # fmt: skip
        self._notes = [note for note in [enlarging(trained, height, width)] if note]
        self._done = 0

    def skip(self, output: str) -> None:
        """Leave a clip that is there as it is."""
        self._notes.append(f"{output} exists and is left as it is; pass --overwrite to make it again")
        self._done += self._settings.frames
        self._tell(0)

    def clip(self, number: int, output: str) -> MadeRecord:
        """Make one clip and write it."""
        begin = time.perf_counter()
        settings = self._settings
        with VideoWriter(output, self.meta, codec=settings.codec, crf=settings.crf, lossless=settings.lossless) as writer:
            for index, rgb in enumerate(_frames(settings, self._trained, self._picture, number, lambda done: self._tell(int(done)))):
                writer.write(Frame(index, rgb, index, 1), rgb)
        self._done += settings.frames
        self._tell(0)
        seconds, name = time.perf_counter() - begin, self._trained.name
        new = settings.frames - len(self._picture)
        return MadeRecord(Path(output), settings.frames, new, seconds, name, tuple(self._notes), tuple(writer.warnings))

    def _tell(self, frames: int) -> None:
        self._progress(Progress(self._done + frames, self._settings.frames * self._settings.count, tuple(self._notes)))


def _outputs(settings: GenerateSettings) -> dict[int, str]:
    """The clips' files by their numbers. Raises UsageError or UnwritableMedia for a place that cannot be written."""
    sources = [] if settings.image is None else [settings.image]
    if settings.count == 1:
        check_output(settings.output, sources, settings.overwrite)
        return {settings.first: str(settings.output)}
    folder = Path(settings.output)
    if folder.suffix in CONTAINERS or folder.is_file():
        raise UsageError(f"{settings.count} clips go into a folder, and {folder} names a file; give a folder's name")
    suffix = ".mkv" if settings.lossless or settings.codec == "ffv1" else ".mov" if settings.codec == "prores" else ".mp4"
    check_output(settings.output, sources, overwrite=True)
    return {number: str(folder / f"{number:03}{suffix}") for number in range(settings.first, settings.first + settings.count)}


def _nothing(settings: GenerateSettings, trained: Trained) -> Frames:
    """No frame at all of a clip from noise, of the size that was asked for, or a square as the net was trained on."""
    height, width = settings.size[::-1] if settings.size is not None else trained.work_size(MOST_SIDE, MOST_SIDE)
    return np.zeros((0, height, width, 3), np.uint8)


def _picture(image: str | Path) -> Frames:
    """The first frame, uint8 1 H W 3. Raises UsageError for what is no single picture, UnreadableMedia for what cannot be read."""
    with open_video(image) as reader:
        if reader.meta.kind != "images" or reader.meta.num_frames != 1:
            raise UsageError(f"{image} is no single picture; give one, or go on from a clip's last frames with framefill predict")
        return next(iter(reader)).rgb[None]
