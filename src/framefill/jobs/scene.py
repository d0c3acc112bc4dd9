"""A source and its mask together, frame by frame, as the runner fills them: cut to a time range, a region, a preview."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from framefill.jobs.geometry import Geometry, Region
from framefill.media.composite import bounding_box
from framefill.media.mask import MaskReader
from framefill.media.reader import VideoReader
from framefill.media.video import Frame, VideoMeta


@dataclass(frozen=True, slots=True)
class Item:
    """One frame to be filled: `frame` at the output's size, `hidden` bool H W the pixels nobody may look at, `fill` bool H W those
    to be made (a part of `hidden`; `empty` when there are none).
    """

    frame: Frame
    seconds: float
    hidden: NDArray[np.bool_]
    fill: NDArray[np.bool_]
    empty: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """An item until its window comes, cut down to its hidden part: the rest of its picture lies in the run of frames anyway."""

    item: Item
    box: tuple[slice, slice] | None = None  # what picture and masks have been cut down to; None: they are whole

    @classmethod
    def cut(cls, item: Item) -> Waiting:
        """Keep of the picture what a blanked copy of it lacks, and of the mask the part that is not empty."""
        box = bounding_box(item.hidden) or (slice(0, 0), slice(0, 0))
        frame = replace(item.frame, rgb=item.frame.rgb[box].copy())
        fill = item.fill[box].copy()
        return cls(replace(item, frame=frame, hidden=fill, fill=fill), box)

    def fill(self, height: int, width: int) -> NDArray[np.bool_]:
        """Give the mask of what is to be made back, bool H W."""
        if self.box is None:
            return self.item.fill
        fill = np.zeros((height, width), np.bool_)
        fill[self.box] = self.item.fill
        return fill

    def whole(self, blanked: NDArray[np.uint8], fill: NDArray[np.bool_]) -> Item:
        """Give the item back with the mask `fill`, what was cut off its picture taken from a `blanked` copy."""
        if self.box is None:
            return self.item
        rgb = blanked.copy()
        rgb[self.box] = self.item.frame.rgb
        return replace(self.item, frame=replace(self.item.frame, rgb=rgb), hidden=fill, fill=fill)


@dataclass
class Scene:
    """What is to be filled; without a `mask`, the border that `geometry` adds.

    `start` and `end` in seconds bound what is filled, not what is kept. With `preview`, only that many frames from `start` on are
    given. `roi` bounds the pixels that are filled.
    """

    reader: VideoReader
    mask: MaskReader | None
    geometry: Geometry
    start: float
    end: float
    roi: Region | None
    preview: int | None

    def __post_init__(self) -> None:
        self._nothing = np.zeros(self.geometry.size[::-1], np.bool_)
        self._nothing.flags.writeable = False
        width, height = self.geometry.source
        self._bare = np.zeros((height, width), np.bool_)  # the mask of a clip that has none
        self._border = self.geometry.mask(self._bare)

    @property
    def meta(self) -> VideoMeta:
        """The source's metadata with the output's size."""
        width, height = self.geometry.size
        frames = self.reader.meta.num_frames
        if self.preview is not None:
            frames = self.preview if frames is None else min(frames, self.preview)
        return replace(self.reader.meta, width=width, height=height, num_frames=frames)

    def __iter__(self) -> Iterator[Item]:
        """Decode from the first frame on, each time anew."""
        mask, given = self.mask, 0
        skipped: int | None = None  # the time, in ticks, that a preview leaves out
        for decoded in self.reader:
            frame, seconds = decoded, self.reader.seconds(decoded)
            inside = self.start <= seconds < self.end
            # The mask is asked for every frame, since a mask video is read along.
            hidden = mask.at(decoded) if mask else self._bare
            if self.preview is not None:
                if not inside:
                    continue
                skipped = frame.pts - self.reader.meta.start_pts if skipped is None else skipped
                frame = replace(frame, index=given, pts=frame.pts - skipped)
            yield self._item(frame, seconds, hidden, inside)
            given += 1
            if given == self.preview:
                break

    def _item(self, frame: Frame, seconds: float, hidden: NDArray[np.bool_], inside: bool) -> Item:
        if self.geometry.changes:
            frame = replace(frame, rgb=self.geometry.picture(frame.rgb), native=None)
            hidden = self._border if hidden is self._bare else self.geometry.mask(hidden)
        fill = hidden if inside else self._nothing
        if self.roi is not None and inside:
            fill = np.zeros_like(hidden)
            fill[self.roi.area] = hidden[self.roi.area]
        return Item(frame, seconds, hidden, fill, not fill.any())
