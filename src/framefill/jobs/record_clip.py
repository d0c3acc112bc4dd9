"""One clip of a video as records: frames at their working size, depth, the holes that another eye's view would open, crops."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from framefill.data.crop import cover
from framefill.data.footage import Footage, resized
from framefill.data.records import About
from framefill.jobs.record_draws import Draws, Ranges, draw
from framefill.media.tasks import TASKS
from framefill.media.video import VideoMeta
from framefill.stereo.depth import DepthProvider, NumberedDepth, get_provider, seek
from framefill.stereo.mapper import get_mapper
from framefill.stereo.normalise import PerFrame
from framefill.stereo.projection import Method, projected_hole
from framefill.stereo.upsample import dilate_edges, to_size

Frame = NDArray[np.uint8]  # H W 3
Frames = NDArray[np.uint8]  # T H W 3
Masks = NDArray[np.bool_]  # T H W
Depth = NDArray[np.float32]  # T H W
Level = TypeVar("Level", np.uint8, np.float32)

TRIES = 2  # crops anywhere, and as many around pixels of the hole, of which the one with most hole is taken
LEAST_HOLE = 300  # pixels a frame of a crop of 512x512, on average; in proportion at other sizes
METHODS: tuple[Method, Method] = ("backward", "forward")  # of the record as it is, and of the mirrored one
NETS = ("hf", "onnx")  # kinds of providers of which there is one for all threads
WARM_UP = 4  # frames that a provider which remembers is shown before the first
NO_DEPTH = "none"


class Stopped(Exception):
    """The run ends; what is under way is dropped."""


@dataclass(frozen=True)
class Making:
    """What every clip is made by.

    size: of crops, `samples` of them, from pictures whose shorter side is one of `short_sides`. masks: weights. depth: a provider in
    words, asked for `batch` frames at once. level: of divergence.
    """

    size: int
    short_sides: tuple[int, ...]
    samples: int
    masks: dict[str, float]
    depth: str
    resolution: int | None
    batch: int
    device: str
    level: int
    seed: int


@dataclass(frozen=True)
class Source:
    """A video that is made into records: its hash, and what its frames are said to be when they are stills."""

    path: Path
    sha256: str
    licence: str


@dataclass(frozen=True)
class Made:
    """A record in memory: `slot` 0 is of the frames as they are, 1 of the mirrored ones, `crop` its number; video T H W 3, mask T H W."""

    slot: int
    crop: int
    kind: str
    video: Frames
    mask: Masks
    about: About


@dataclass
class Workshop:
    """What threads that make clips share: providers of depth and sources that stand open. `stop` ends them all."""

    making: Making
    stop: threading.Event = field(default_factory=threading.Event)
    _own: threading.local = field(default_factory=threading.local)
    _net: DepthProvider | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Make the first provider, so that what is wrong with it is known before any work."""
        self.name, self.metric, self.numbered = "", False, False
        if self.making.depth == NO_DEPTH or "stereo" not in self.making.masks:
            return
        provider = self._provider()
        self.name, self.metric, self.numbered = provider.name, provider.is_metric, isinstance(provider, NumberedDepth)
        if self.making.depth.partition(":")[0] in NETS:
            self._net = provider

    def make(self, source: Source, clip: int, numbers: Sequence[int]) -> Iterator[Made]:
        """Make the records of the frames with these numbers, which are clip number `clip` of a video.

        Each follows from (seed, content, clip, slot, crop) alone. Raises UnreadableMedia for frames that cannot be decoded, what the
        provider raises, Stopped when the run ends.
        """
        making, footage = self.making, self._footage(source.path)
        meta, identity = footage.meta, int(source.sha256[:15], 16)
        rng = np.random.default_rng([making.seed, identity, clip])
        width = round(meta.width * float(meta.sample_aspect_ratio))
        ranges = Ranges(making.size, making.short_sides, making.masks, making.level, self.metric)
        drawn = draw(rng, meta.height, width, ranges)
        frames, depth, dilated = self._look(footage, numbers, drawn)
        for slot, kind in enumerate(drawn.kinds):
            seen = frames if slot == 0 else np.ascontiguousarray(frames[:, :, ::-1])
            holes = None
            if kind == "stereo" and depth is not None:
                facing = depth if slot == 0 else np.ascontiguousarray(depth[:, :, ::-1])
                holes = self._holes(facing, drawn, METHODS[slot])
            for crop in range(making.samples):
                own = np.random.default_rng([making.seed, identity, clip, slot, crop])
                top, left, mask = cut(own, kind, holes, seen.shape[:3], making.size)
                about: About = {
                    "format": 1,
                    "kind": kind,
                    "mirrored": slot == 1,
                    "source": _source(source, meta, numbers),
                    "picture": {"height": seen.shape[1], "width": seen.shape[2], "angle": drawn.angle},
                    "crop": {"top": top, "left": left, "size": making.size},
                    "seed": [making.seed, identity, clip, slot, crop],
                    "hole_pixels": round(float(mask.sum()) / len(mask), 2),
                }
                if holes is not None:
                    about["hole"] = {
                        "depth": self.name, "method": METHODS[slot], "mapper": drawn.mapper, "convergence": drawn.convergence,
                        "divergence": drawn.divergence, "edge_dilation": dilated,
                    }  # fmt: skip
                video = seen[:, top : top + making.size, left : left + making.size]
                yield Made(slot, crop, kind, np.ascontiguousarray(video), mask, about)

    def _look(self, footage: Footage, numbers: Sequence[int], drawn: Draws) -> tuple[Frames, Depth | None, int]:
        """Frames as they are worked on and, where a stereo hole is drawn, their depth 0..1 with how often its edges were grown."""
        short = drawn.short_side if drawn.angle == 0 else math.ceil(drawn.short_side * math.sqrt(2))
        size = cover(footage.meta, (short, short))
        if not self.name or "stereo" not in drawn.kinds:
            return np.stack([turned(frame, drawn.angle, drawn.short_side) for frame in footage.read(numbers, size)]), None, 0
        read = footage.read(numbers, None if self.numbered else size)  # what goes by numbers may go by the file's own size too
        with self._depths() as provider:
            raw = self._raw(provider, read, numbers)
        grown = drawn.edge_dilation(min(raw.shape[1:]))
        mapper = get_mapper(drawn.mapper)
        frames, depth = [], []
        for number, flat in enumerate(PerFrame()(raw)):  # one by one: a worker holds little more than the frames
            upright = resized(read[number], size)
            full = to_size(mapper(dilate_edges(flat, grown)), upright)
            frames.append(turned(upright, drawn.angle, drawn.short_side))
            depth.append(turned(full, drawn.angle, drawn.short_side))
            self._go_on()
        return np.stack(frames), np.stack(depth), grown

    def _raw(self, provider: DepthProvider, frames: Sequence[Frame], numbers: Sequence[int]) -> Depth:
        """Ask the provider, batch by batch, as if the clip were a video of its own."""
        provider.reset()
        if self.numbered:
            found = []
            for number, frame in zip(numbers, frames, strict=True):
                seek(provider, number)
                found.append(provider.infer(frame[None]))
                self._go_on()
            return np.concatenate(found)
        if self._net is None:  # first depths as good as the last, where a provider learns from frame to frame
            provider.infer(np.stack(frames[:WARM_UP][::-1]))
        found = []
        for at in range(0, len(frames), self.making.batch):
            found.append(provider.infer(np.stack(frames[at : at + self.making.batch])))
            self._go_on()
        return np.concatenate(found)

    def _holes(self, depth: Depth, drawn: Draws, method: Method) -> Masks:
        holes = np.empty(depth.shape, np.bool_)
        for frame, hole in zip(depth, holes, strict=True):
            hole[:] = projected_hole(frame, drawn.divergence, drawn.convergence, method)
            self._go_on()
        return holes

    def _go_on(self) -> None:
        if self.stop.is_set():
            raise Stopped

    @contextmanager
    def _depths(self) -> Iterator[DepthProvider]:
        """A provider of this thread's own; a network is shared, and threads take turns."""
        if self._net is not None:
            with self._turn:
                yield self._net
            return
        if not hasattr(self._own, "depth"):
            self._own.depth = self._provider()
        yield self._own.depth

    def _provider(self) -> DepthProvider:
        return get_provider(self.making.depth, resolution=self.making.resolution, device=self.making.device)

    def _footage(self, path: Path) -> Footage:
        """The source, which this thread keeps open for the clips that follow."""
        if getattr(self._own, "path", None) != path:
            self._own.footage, self._own.path = open_footage(path), path
        footage: Footage = self._own.footage
        return footage


def open_footage(path: Path) -> Footage:
    """Open a video, or a folder of frames at 25 a second. Raises UnreadableMedia."""
    from framefill.media.images import find_frames

    return Footage(path, Fraction(25) if find_frames(path) is not None else None)


def cut(rng: Generator, kind: str, holes: Masks | None, shape: tuple[int, ...], size: int) -> tuple[int, int, Masks]:
    """Choose a crop of `size` pixels from pictures T H W: its place (top, left) and its mask, cut from `holes` or drawn by its task."""
    T, H, W = shape[:3]
    room = np.array((H - size, W - size))
    places = rng.integers(0, room, size=(TRIES, 2), endpoint=True)
    if holes is None:
        return int(places[0, 0]), int(places[0, 1]), TASKS[kind](rng, T, size, size)
    hidden = holes.sum(axis=0)
    found = np.argwhere(hidden)
    if len(found):
        around = found[rng.integers(0, len(found), size=TRIES)] - rng.integers(0, size, size=(TRIES, 2))
        places = np.concatenate([places, np.clip(around, 0, room)])
    area = np.asarray(cv2.integral(hidden.astype(np.float64), sdepth=cv2.CV_64F))
    tops, lefts = places.T
    held = area[tops + size, lefts + size] - area[tops, lefts + size] - area[tops + size, lefts] + area[tops, lefts]
    top, left = (int(each) for each in places[int(held.argmax())])
    return top, left, np.ascontiguousarray(holes[:, top : top + size, left : left + size])


def enough(mask: Masks) -> bool:
    """Whether a mask T H W hides enough for a record to be kept: more than 300 pixels a frame of 512x512, on average."""
    return bool(mask.sum() / len(mask) > LEAST_HOLE * mask.shape[1] * mask.shape[2] / 512**2)


def turned(picture: NDArray[Level], angle: float, side: int) -> NDArray[Level]:
    """A picture H W or H W 3 turned by `angle` degrees about its middle, and the square of `side` pixels there; 0 = as it is."""
    if angle == 0:
        return picture
    H, W = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D(((W - 1) / 2, (H - 1) / 2), angle, 1.0)
    matrix = matrix + np.array([[0, 0, (side - W) / 2], [0, 0, (side - H) / 2]])
    return np.asarray(cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR), picture.dtype)


def _source(source: Source, meta: VideoMeta, numbers: Sequence[int]) -> About:
    return {
        "name": source.path.name,
        "sha256": source.sha256,
        "licence": source.licence,
        "height": meta.height,
        "width": meta.width,
        "fps": round(float(meta.fps), 6) if meta.fps else 0.0,
        "frames": [int(number) for number in numbers],
    }
