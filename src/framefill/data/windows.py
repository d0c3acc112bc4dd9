"""Which frames an item of a data set reads: a clip gives one window or several, each with a place of its own to draw its start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import Generator

from framefill.data.manifest import Clip, Split, read_manifest
from framefill.errors import UsageError

Sampling = Literal["random", "strided"]
FASTER = 1.01  # a source may be this much slower than the wanted rate


@dataclass(frozen=True)
class Window:
    """What one item reads: from a clip, with the first frame in `first .. last` (both included), `span` frames long."""

    clip: Clip
    first: int
    last: int
    step: float  # source frames from one frame to the next
    span: int

    def draw(self, rng: Generator, frames: int) -> list[int]:
        """Draw a start and return the numbers of the source's frames to read."""
        start = int(rng.integers(self.first, self.last, endpoint=True))
        return [start + int(k * self.step) for k in range(frames)]


def chosen_clips(manifest: str | Path | Sequence[Clip], split: Split | None) -> list[Clip]:
    """Return the clips of one split (None: all) of a manifest or of clips in hand. Raises UsageError when there is none."""
    clips = read_manifest(manifest) if isinstance(manifest, str | Path) else manifest
    chosen = [clip for clip in clips if split is None or clip.split == split]
    if not chosen:
        raise UsageError(f"no clip of split {split!r} among {len(clips)}; name another split, or scan with another --val-share")
    return chosen


def windows_of(clip: Clip, frames: int, fps: float | None, sampling: Sampling, stride: int | None) -> list[Window]:
    """The items that a clip gives, as `ClipDataset` tells; none when it is too short or too slow."""
    if fps is not None and clip.fps * FASTER < fps:
        return []
    step = 1.0 if fps is None else max(1.0, clip.fps / fps)
    span = int((frames - 1) * step) + 1
    latest = clip.end - span  # the last frame at which the span can start
    if latest < clip.start:
        return []
    if sampling == "strided":
        apart = max(1, round(stride * step)) if stride is not None else span
        return [Window(clip, start, start, step, span) for start in range(clip.start, latest + 1, apart)]
    count = max(1, len(clip) // span)
    borders = np.linspace(clip.start, latest + 1, count + 1).astype(int)
    return [Window(clip, int(a), int(b) - 1, step, span) for a, b in pairwise(borders)]
