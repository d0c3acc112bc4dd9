"""2D to 3D: a file whose frames hold what two eyes see, in constant memory; sound, times and the rest follow.

One process, one pass: what was written of an interrupted run is removed, and the run begins anew. Depth, which takes longest, can be
exported on the way and read back.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from framefill.errors import UsageError
from framefill.jobs.exported import Export, Exported, is_export
from framefill.jobs.eyes import STRETCH, Depths, EyeMaker, EyeSettings, Pair, Range, Seen
from framefill.jobs.lanes import Behind, ahead
from framefill.jobs.record import JsonValue
from framefill.jobs.runner import Progress
from framefill.jobs.targets import check_output
from framefill.media.packing import packing_of
from framefill.media.reader import VideoReader, open_video
from framefill.media.stereo_layout import LAYOUTS, Layout, Sphere, arranged, arranged_size
from framefill.media.video import VideoMeta
from framefill.media.writer import VideoWriter

AHEAD = 4  # frames that may wait between two threads


@dataclass(frozen=True)
class StereoSettings:
    """One clip to be given a second eye. `output` may be None when depth and frames are only exported.

    `fps` is for frames without times of their own. `view` is for the layout vr180: how many degrees of the horizon the picture fills.
    `export` is a new folder for depth (16-bit PNG) and frames, which is an input in its turn. Raises UsageError for what cannot be meant.
    """

    input: str | Path
    output: str | Path | None
    layout: Layout = "sbs"
    eyes: EyeSettings = field(default_factory=EyeSettings)
    view: float = 90.0
    export: str | Path | None = None
    fps: Fraction | None = None
    codec: str = "auto"
    crf: int | None = None
    lossless: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise UsageError(f"--layout is {self.layout!r}, expected one of {', '.join(LAYOUTS)}")
        if self.output is None and self.export is None:
            raise UsageError("nothing says what to write; give -o OUT, or --export FOLDER for depth and frames")
        if self.output is not None and self.export is not None and Path(self.output).resolve() == Path(self.export).resolve():
            raise UsageError("the output and the export need names of their own")
        Sphere(self.view)


@dataclass(frozen=True)
class StereoRecord:
    """What was done: frames, their size in the file, shots, the mean share of holes, what gave the depth and what filled the holes."""

    output: Path
    frames: int
    size: tuple[int, int]
    layout: Layout
    shots: int
    hole: float
    depth: str
    mapper: str
    model: str
    seconds: float
    warnings: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """All that the user should know."""
        return tuple(f"warning: {warning}" for warning in self.warnings)

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds

    def summary(self) -> dict[str, JsonValue]:
        """The object that `--json` prints."""
        return {
            "output": str(self.output),
            "frames": self.frames,
            "size": list(self.size),
            "layout": self.layout,
            "shots": self.shots,
            "hole": round(self.hole, 6),
            "depth": self.depth,
            "mapper": self.mapper,
            "model": self.model,
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
        }


def stereo(settings: StereoSettings, progress: Callable[[Progress], None] = lambda _: None) -> StereoRecord:
    """Write `settings.output`, or `settings.export`, or both.

    Raises UsageError, UnreadableMedia, UnwritableMedia or WeightsError before the first frame where it can; nothing half stays.
    """
    begin = time.perf_counter()
    for target in (settings.output, settings.export):
        if target is not None:
            check_output(target, [settings.input], settings.overwrite)
    with ExitStack() as stack:
        if is_export(settings.input):
            _refuse_anew(settings)
            exported = stack.enter_context(Exported(Path(settings.input)))
            run = _Run(settings, exported.reader, exported.depth, exported.is_metric, progress)
            run.write(exported.seen())
        else:
            reader = stack.enter_context(open_video(settings.input, settings.fps))
            depths = Depths(settings.eyes)
            run = _Run(settings, reader, depths.name, depths.is_metric, progress)
            run.write(depths.seen(stack.enter_context(ahead(reader, AHEAD))))
    return run.record(time.perf_counter() - begin)


def _refuse_anew(settings: StereoSettings) -> None:
    """Raise UsageError for what an export has decided already."""
    if settings.export is not None:
        raise UsageError(f"{settings.input} is an export already; leave --export out")
    if settings.fps is not None:
        raise UsageError(f"{settings.input} is an export, which has frame times of its own; leave --fps out")
    if settings.eyes.depth != EyeSettings().depth:
        raise UsageError(f"{settings.input} is an export, which has its depth; leave --depth out")


class _Run:
    """One clip on its way to two eyes; `depth` is what its depth came from, and whether that is a distance."""

    def __init__(
        self, settings: StereoSettings, reader: VideoReader, depth: str, is_metric: bool, progress: Callable[[Progress], None]
    ) -> None:
        self._settings, self._reader, self._depth, self._is_metric, self._progress = settings, reader, depth, is_metric, progress
        self._maker = EyeMaker(_without_eyes(settings.eyes) if settings.layout == "rgbd" else settings.eyes, is_metric)
        meta = reader.meta
        self._sphere = Sphere(settings.view, float(meta.sample_aspect_ratio))
        self._size = arranged_size(settings.layout, meta.width, meta.height, self._sphere)
        self._written = self._shots = 0
        self._hole = 0.0
        self._warnings: list[str] = []

    def write(self, seen: Iterator[Seen]) -> None:
        """Take every frame to its end."""
        settings = self._settings
        with ExitStack() as stack:
            if settings.export is not None:
                export = stack.enter_context(Export(Path(settings.export), self._reader, self._depth, self._is_metric))
                seen = export.kept(seen)
            if settings.output is None:
                for each in seen:
                    self._count(each.shot, 0.0)
                return
            upright = VideoReader(self._reader.path, _Upright(self._reader, settings.layout))
            writer = VideoWriter(
                settings.output, upright, codec=settings.codec, crf=settings.crf, lossless=settings.lossless, size=self._size,
                packing=packing_of(settings.layout),
            )  # fmt: skip
            stack.enter_context(writer)
            writing = Behind[Pair](lambda pairs: self._arrange(pairs, writer), AHEAD)
            stack.callback(writing.stop)
            pairs = self._maker.depth_pictures(seen) if settings.layout == "rgbd" else self._maker.pairs(seen)
            for pair in pairs:
                writing.put(pair)
                self._count(pair.shot, pair.hole)
            writing.finish()
        self._warnings += writer.warnings

    def record(self, seconds: float) -> StereoRecord:
        """Say what was done."""
        settings = self._settings
        target = settings.output if settings.output is not None else settings.export
        assert target is not None
        return StereoRecord(
            Path(target), self._written, self._size, settings.layout, self._shots, self._hole / max(self._written, 1), self._depth,
            self._maker.mapper, settings.eyes.model, seconds, tuple(dict.fromkeys((*self._reader.warnings, *self._warnings))),
        )  # fmt: skip

    def _arrange(self, pairs: Iterator[Pair], writer: VideoWriter) -> None:
        for pair in pairs:
            writer.write(pair.frame, arranged(self._settings.layout, pair.left, pair.right, self._sphere))

    def _count(self, shot: int, hole: float) -> None:
        self._written, self._shots, self._hole = self._written + 1, shot + 1, self._hole + hole
        lines = tuple(f"warning: {line}" for line in self._reader.warnings)
        self._progress(Progress(self._written, self._reader.meta.num_frames, lines))


class _Upright:
    """A source whose picture is written upright: a rotation flag would turn the eyes about each other."""

    def __init__(self, reader: VideoReader, layout: Layout) -> None:
        aspect = Fraction(1) if layout == "vr180" else reader.meta.sample_aspect_ratio
        self.meta: VideoMeta = replace(reader.meta, rotation=0, mirrored=False, sample_aspect_ratio=aspect)
        self.warnings = reader.warnings
        self.frames = reader.frames


def _without_eyes(eyes: EyeSettings) -> EyeSettings:
    """A picture beside its depth has no holes to fill, and needs no model."""
    return replace(eyes, model=STRETCH, overlap=None)


def parse_overlap(text: str) -> tuple[int, int]:
    """`--overlap` as written on the command line: "3,3" or "3", which is 3,0."""
    match = re.fullmatch(r"\s*(\d{1,3})\s*(?:,\s*(\d{1,3})\s*)?", text)
    if not match:
        raise UsageError(f"--overlap is {text!r}, expected frames before and after such as 3,3")
    return int(match[1]), int(match[2] or 0)


def parse_range(text: str) -> Range:
    """`--ema` as written on the command line: "0.75,30" (decay, frames), "0.75", "frame" or "none"."""
    if text in ("frame", "none"):
        return Range(text)  # type: ignore[arg-type]
    match = re.fullmatch(r"\s*(\d*\.?\d+)\s*(?:,\s*(\d{1,4})\s*)?", text)
    if not match:
        raise UsageError(f"--ema is {text!r}, expected decay and frames such as 0.75,30, or frame, or none")
    return Range("ema", float(match[1]), int(match[2] or 30))
