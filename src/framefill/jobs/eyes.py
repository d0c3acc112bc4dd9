"""From a stream of frames to a stream of what two eyes see: shots, depth, the warp, the holes filled. Each stage holds a few frames.

Stages and their defaults follow nagadomi/nunif (iw3); where it fills holes with one net, any family of framefill does here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Literal, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.families import at_hand, get
from framefill.families.base import Filler
from framefill.families.eyes import Net, Sight, fill_eye, filler_for_eyes
from framefill.jobs.cutting import in_shots
from framefill.media.stereo_layout import grey_of
from framefill.media.video import Frame
from framefill.stereo.backward import backward
from framefill.stereo.depth import get_provider
from framefill.stereo.dilation import dilate_inner, dilate_outer, scaled
from framefill.stereo.folder import FolderDepth
from framefill.stereo.forward import forward
from framefill.stereo.geometry import Eye, View, as_right
from framefill.stereo.mapper import default_mapper, get_mapper
from framefill.stereo.normalise import AsItIs, Ema, Normaliser, PerFrame
from framefill.stereo.occluders import Occluders, occluders
from framefill.stereo.upsample import dilate_edges, to_size

Picture = NDArray[np.uint8]  # H W 3
Depth = NDArray[np.float32]  # H W
Eyes: TypeAlias = Literal["both", "left", "right"]
Method: TypeAlias = Literal["backward", "forward"]
Warp = Callable[[Picture, Depth, float, float, Eye], View]
WARPS: dict[Method, Warp] = {"backward": backward, "forward": forward}
STRETCH = "stretch"  # the holes stay as the warp has filled them
PROPAGATE = "propagate"
NET = "light-stereo"  # comes along
LOOKED_AT = 480  # pixels, about, to the longer side at which it is looked for what stands before holes
BATCH = 8  # frames whose depth is asked for at once, within a shot


def chain_of(model: str) -> tuple[str, ...]:
    """The families that fill holes one after the other; what all of them leave stays as the warp has filled it.

    `auto` is what other frames show, then a net that learnt such holes alone, wherever it can run.
    """
    if model == STRETCH:
        return ()
    if model != "auto":
        return (model,)
    return (PROPAGATE,) if at_hand(NET) is None else (PROPAGATE, NET)


@dataclass(frozen=True)
class Range:
    """How raw depth becomes 0..1: by a range that moves slowly, `decay` 0..1 and `buffer` frames looked ahead; None: see `kind`.

    kind: "ema", "frame" (each frame's own range), "none" (it is 0..1 already).
    """

    kind: Literal["ema", "frame", "none"] = "ema"
    decay: float = 0.75
    buffer: int = 30

    def __post_init__(self) -> None:
        self.make()

    def make(self) -> Normaliser:
        """Make the normaliser. Raises UsageError for numbers that it refuses."""
        if self.kind == "ema":
            return Ema(self.decay, self.buffer)
        return PerFrame() if self.kind == "frame" else AsItIs()


@dataclass(frozen=True)
class EyeSettings:
    """How the other eye's view is made.

    divergence: distance of the eyes in percent of the picture's longer side, 0 to 20. convergence: the depth 0..1 that stands on the
    screen. eyes: which are made; with one, the other is the source, and the one is moved twice as far. depth: a provider's spec,
    `resolution` its input's shorter side. mapper: None for the provider's own. edge_dilation: steps by which near things grow over their
    edges, inner and outer those by which holes grow, towards the object and away from it, all at the depth's size. model: what fills the
    holes, "stretch", a family or a trained folder. overlap: frames that its windows see before and after; None for its own. cuts: whether
    all begins anew at a cut. device: of a depth net. Raises UsageError.
    """

    divergence: float = 2.0
    convergence: float = 0.5
    eyes: Eyes = "both"
    depth: str = "heuristic"
    resolution: int | None = None
    mapper: str | None = None
    range: Range = Range()
    edge_dilation: int = 2
    method: Method = "backward"
    inner: int = 0
    outer: int = 0
    model: str = "auto"
    overlap: tuple[int, int] | None = None
    cuts: bool = True
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not 0 <= self.divergence <= 20:
            raise UsageError(f"--divergence is {self.divergence:g}, expected percent of the picture's longer side from 0 to 20; 2 is usual")
        if not 0 <= self.convergence <= 1:
            raise UsageError(f"--convergence is {self.convergence:g}, expected a depth from 0 (far) to 1 (near)")
        for option, value, choices in (("--eye", self.eyes, get_args(Eyes)), ("--method", self.method, get_args(Method))):
            if value not in choices:
                raise UsageError(f"{option} is {value!r}, expected one of {', '.join(choices)}")
        for option, steps in (("--edge-dilation", self.edge_dilation), ("--inner-dilation", self.inner), ("--outer-dilation", self.outer)):
            if not 0 <= steps <= 50:
                raise UsageError(f"{option} is {steps}, expected 0 to 50")
        if self.mapper is not None:
            get_mapper(self.mapper)
        if self.overlap is not None and min(self.overlap) < 0:
            raise UsageError(f"--overlap {self.overlap[0]},{self.overlap[1]}: give frames before and after, 0 or more, such as 3,3")

    @property
    def made(self) -> tuple[Eye, ...]:
        """The eyes that are made."""
        return ("left", "right") if self.eyes == "both" else (self.eyes,)


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame of the source, the number of its shot, and its depth at the provider's size, 0..1 with 1 = near."""

    frame: Frame
    shot: int
    depth: Depth


@dataclass(frozen=True, slots=True)
class Pair:
    """A frame, what the two eyes see of it, uint8 H W 3 each, and the share of the made eyes' pixels that were holes, 0..1."""

    frame: Frame
    shot: int
    left: Picture
    right: Picture
    hole: float


class Depths:
    """Gives frames their depth. Raises UsageError, UnreadableMedia or WeightsError as the provider does."""

    def __init__(self, settings: EyeSettings) -> None:
        """Make the provider, so that what is missing is said before the first frame."""
        self._settings = settings
        self._provider = get_provider(settings.depth, resolution=settings.resolution, device=settings.device)
        as_it_is = isinstance(self._provider, FolderDepth) and self._provider.is_normalised
        self._range = Range("none") if as_it_is else settings.range
        self.name, self.is_metric = self._provider.name, self._provider.is_metric

    def seen(self, frames: Iterable[Frame]) -> Iterator[Seen]:
        """Give each frame its depth; the shots are told apart, and what was learnt of one is forgotten in the next."""
        for shot, members in groupby(in_shots(frames, self._settings.cuts), key=lambda member: member[0]):
            self._provider.reset()
            yield from self._in_one_shot(shot, (frame for _, frame in members))

    def _in_one_shot(self, shot: int, frames: Iterator[Frame]) -> Iterator[Seen]:
        normaliser = self._range.make()
        waiting: deque[Frame] = deque()
        batch: list[Picture] = []
        for frame in frames:
            waiting.append(frame)
            batch.append(frame.rgb)
            if len(batch) == BATCH:
                finished = normaliser.push(self._provider.infer(np.stack(batch)))
                batch = []
                yield from (Seen(waiting.popleft(), shot, depth) for depth in finished)
        finished = normaliser.push(self._provider.infer(np.stack(batch))) if batch else []
        yield from (Seen(waiting.popleft(), shot, depth) for depth in [*finished, *normaliser.flush()])


class EyeMaker:
    """Makes what the eyes see. `is_metric`: the depth is a distance, see `stereo.depth`."""

    def __init__(self, settings: EyeSettings, is_metric: bool) -> None:
        """Make the fillers. Raises UsageError or WeightsError as they do."""
        self.settings = settings
        self.mapper = settings.mapper or default_mapper(is_metric)
        self._families = [get(name) for name in chain_of(settings.model)]
        self._fillers: dict[tuple[Eye, str], Filler] = {}
        if settings.overlap is not None and not any(isinstance(family, Net) for family in self._families):
            raise UsageError(f"--overlap is for the windows of a net, and {settings.model} runs none here; leave it out")

    def depth_pictures(self, seen: Iterable[Seen]) -> Iterator[Pair]:
        """Give each frame with its depth as a grey picture in place of the right eye."""
        for each in seen:
            yield Pair(each.frame, each.shot, each.frame.rgb, grey_of(self._full(each)), 0.0)

    def pairs(self, seen: Iterable[Seen]) -> Iterator[Pair]:
        """Give what both eyes see of each frame, the holes filled."""
        with ThreadPoolExecutor(2) as pool:
            for _, shot in groupby(seen, key=lambda each: each.shot):
                yield from self._pairs_of_shot(shot, pool)

    def _full(self, seen: Seen) -> Depth:
        """The depth as the warp takes it: near things grown over their edges, at the frame's size, shaped by the mapper."""
        grown = dilate_edges(seen.depth, self.settings.edge_dilation) if self.settings.edge_dilation else seen.depth
        return get_mapper(self.mapper)(to_size(grown, seen.frame.rgb))

    def sights(self, seen: Seen, pool: ThreadPoolExecutor) -> tuple[Sight, ...]:
        """Warp a frame to each eye that is made."""
        settings, depth = self.settings, self._full(seen)
        divergence = settings.divergence * (2 if len(settings.made) == 1 else 1)

        def sight(eye: Eye) -> Sight:
            view = WARPS[settings.method](seen.frame.rgb, depth, divergence, settings.convergence, eye)
            if settings.inner or settings.outer:
                view = self._grown(view, eye, seen.depth.shape[1])
            return Sight(view, self._before(view, depth, divergence, eye) if self._families else None)

        return tuple(pool.map(sight, settings.made))

    def _before(self, view: View, depth: Depth, divergence: float, eye: Eye) -> Occluders:
        """What stands before the view's holes, at a right eye's."""
        shrink = max(1, round(max(depth.shape) / LOOKED_AT))
        size = (-(-depth.shape[1] // shrink), -(-depth.shape[0] // shrink))
        small = np.asarray(cv2.resize(depth, size, interpolation=cv2.INTER_AREA), np.float32) if shrink > 1 else depth
        there = WARPS[self.settings.method](grey_of(small), small, divergence, self.settings.convergence, eye).picture[..., 0]
        return occluders(np.ascontiguousarray(as_right(view.hole, eye)), np.ascontiguousarray(as_right(there, eye)))

    def _grown(self, view: View, eye: Eye, depth_width: int) -> View:
        """The view with its holes grown; the steps are those of the depth's size."""
        hole = np.ascontiguousarray(as_right(view.hole, eye))
        inner, outer = (scaled(steps, hole.shape[1], depth_width) for steps in (self.settings.inner, self.settings.outer))
        return replace(view, hole=np.ascontiguousarray(as_right(dilate_outer(dilate_inner(hole, inner), outer), eye)))

    def _pairs_of_shot(self, shot: Iterable[Seen], pool: ThreadPoolExecutor) -> Iterator[Pair]:
        made = self.settings.made
        fork = _Fork(self._warped(shot, pool), len(made))
        eyes = [self._filled(fork.part(number), eye, fork) for number, eye in enumerate(made)]
        for views in zip(*eyes, strict=True):
            pair, both = fork.along.popleft(), {eye: view.picture for eye, view in zip(made, views, strict=True)}
            yield replace(pair, left=both.get("left", pair.left), right=both.get("right", pair.right))

    def _warped(self, shot: Iterable[Seen], pool: ThreadPoolExecutor) -> Iterator[tuple[Pair, tuple[Sight, ...]]]:
        """Give each frame's pair as far as it is known, the source for both eyes, and the views of those that are made."""
        for seen in shot:
            sights = self.sights(seen, pool)
            hole = sum(float(sight.view.hole.mean()) for sight in sights) / len(sights)
            frame = replace(seen.frame, native=None)
            yield Pair(frame, seen.shot, frame.rgb, frame.rgb, hole), sights

    def _filled(self, sights: Iterator[Sight], eye: Eye, fork: _Fork) -> Iterator[View]:
        """Fill one eye's stream of one shot, by one family after the other: each is given what those before it have left."""
        head = next(sights, None)
        if head is None:
            return
        sights, first = chain((head,), sights), fork.along[0].frame.index
        for family in self._families:
            overlap = self.settings.overlap if isinstance(family, Net) else None
            key = eye, family.name
            if key not in self._fillers:  # one for the whole clip: what it keeps goes by the clip's frame numbers
                self._fillers[key] = filler_for_eyes(family, overlap, *head.view.hole.shape)
            sights = fill_eye(sights, self._fillers[key], eye, first, overlap)
        yield from (sight.view for sight in sights)


class _Fork:
    """A stream of (what goes along, parts) as one stream for each part, which may be some frames apart.

    `along` holds what belongs to the parts given out last by the stream that is behind, and what comes after it.
    """

    def __init__(self, items: Iterator[tuple[Pair, tuple[Sight, ...]]], parts: int) -> None:
        self._items = items
        self._waiting: list[deque[Sight]] = [deque() for _ in range(parts)]
        self.along: deque[Pair] = deque()

    def part(self, number: int) -> Iterator[Sight]:
        """One of the streams."""
        mine = self._waiting[number]
        while True:
            if not mine:
                item = next(self._items, None)
                if item is None:
                    return
                self.along.append(item[0])
                for queue, sight in zip(self._waiting, item[1], strict=True):
                    queue.append(sight)
            yield mine.popleft()
