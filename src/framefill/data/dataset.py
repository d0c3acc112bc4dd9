"""Clips as a torch Dataset: what `dataset[i]` is depends on (seed, epoch, i) alone, in any number of workers and in any order.

A shot longer than the wanted span gives several items, so that an epoch passes over all footage about once: each item owns a stretch of
its shot and draws its start there ("random"), or starts at a fixed place ("strided"), for evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Protocol, TypedDict

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from framefill.data.crop import MIDDLE, cover, crop, maybe_flipped, nearer, pair
from framefill.data.footage import Footage
from framefill.data.manifest import Clip, Split
from framefill.data.windows import Sampling, chosen_clips, windows_of
from framefill.errors import UsageError
from framefill.media.synthetic import make_clip

KEPT_OPEN = 256  # sources whose frame times a worker remembers


class Item(TypedDict):
    """One clip: `video` uint8 T H W 3, `index` the item's number."""

    video: torch.Tensor
    index: int


class Batch(TypedDict):
    """Clips together: `video` uint8 B T H W 3, `index` int64 B."""

    video: torch.Tensor
    index: torch.Tensor


class ClipDataset(Dataset[Item]):
    """Clips of `frames` frames at `size` (height, width, or one number for both) from a manifest.

    manifest: a path or clips. fps: the wanted rate, met by leaving frames out; None takes every frame. split: which clips; None all.
    sampling: "random" draws the start and the place of the crop; "strided" takes a start every `stride` frames at the wanted rate
    (None: one after the other) and the middle. flip: the probability of mirroring left and right; 0 where left and right matter. zoom:
    clips are cut out of pictures up to so many times larger than what just covers `size`, and no larger than their source.
    Clips that are too short, or slower than `fps`, are left out: `left_out` counts them. Raises UsageError when none is left.
    """

    def __init__(  # noqa: PLR0913 - what a loader may ask for, each with its name
        self,
        manifest: str | Path | Sequence[Clip],
        frames: int,
        size: int | tuple[int, int],
        fps: float | None = None,
        seed: int = 0,
        *,
        split: Split | None = "train",
        sampling: Sampling = "random",
        stride: int | None = None,
        flip: float = 0.5,
        zoom: float = 1.0,
    ) -> None:
        if frames < 1 or (fps is not None and fps <= 0) or (stride is not None and stride < 1):
            raise UsageError(f"frames {frames}, fps {fps}, stride {stride}: expected numbers above 0")
        self.frames, self.size = frames, pair(size)
        self.seed, self.sampling = seed, sampling
        self.flip, self.zoom = (flip, zoom) if sampling == "random" else (0.0, 1.0)
        chosen = chosen_clips(manifest, split)
        found = [windows_of(clip, frames, fps, sampling, stride) for clip in chosen]
        self.left_out = sum(not each for each in found)
        self.windows = [window for each in found for window in each]
        if not self.windows:
            rate = "" if fps is None else f" at {fps:g} frames/s"
            raise UsageError(f"none of {len(chosen)} clips has {frames} frames{rate}; ask for fewer frames or another rate")
        self._epoch = 0
        self._open: dict[Path, Footage] = {}

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of another epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Item:
        window = self.windows[index]
        rng = np.random.default_rng([self.seed, self._epoch, index])
        numbers = window.draw(rng, self.frames)
        footage = self._footage(window.clip)
        place = rng.random(2) if self.sampling == "random" else MIDDLE
        size = nearer(cover(footage.meta, self.size), (footage.meta.height, footage.meta.width), self.zoom, rng)
        clip = crop(np.stack(footage.read(numbers, size)), self.size, place)
        return {"video": torch.from_numpy(maybe_flipped(clip, rng, self.flip)), "index": index}

    def _footage(self, clip: Clip) -> Footage:
        footage = self._open.pop(clip.path, None) or Footage(clip.path)
        self._open[clip.path] = footage  # the one used last is the last
        if len(self._open) > KEPT_OPEN:
            del self._open[next(iter(self._open))]
        return footage

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}


class SyntheticDataset(Dataset[Item]):
    """`count` procedural clips of `frames` frames at `size`; each epoch brings new ones. `lighting` as in `media.synthetic`."""

    def __init__(self, count: int, frames: int, size: int | tuple[int, int], seed: int = 0, *, lighting: float = 0.5) -> None:
        if count < 1 or frames < 1:
            raise UsageError(f"count {count}, frames {frames}: expected numbers above 0")
        self.count, self.frames, self.size, self.seed, self.lighting = count, frames, pair(size), seed, lighting
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the clips of another epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < self.count:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, self._epoch, index])
        return {"video": torch.from_numpy(make_clip(rng, self.frames, *self.size, self.lighting)), "index": index}


class Clips(Sized, Protocol):
    """A data set whose items are pure functions of (seed, epoch, index): `video` uint8 T H W 3, or `latents` float T C h w."""

    def __getitem__(self, index: int) -> Mapping[str, object]:
        """Return one item."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the items that follow."""
        ...


class MixedDataset(Dataset[Mapping[str, object]]):
    """All clips of one data set, then all of another, under one numbering; their numbers in `index` stay their own."""

    def __init__(self, first: Clips, second: Clips) -> None:
        self._first, self._second = first, second

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of another epoch, in both."""
        self._first.set_epoch(epoch)
        self._second.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, index: int) -> Mapping[str, object]:
        own = len(self._first)
        return self._first[index] if index < own else self._second[index - own]


def made_beside(count: int, share: float) -> int:
    """Return how many clips beside `count` others are a `share` (0 to below 1) of them all; at least 1."""
    return max(1, round(count * share / (1 - share)))


def collate(items: Sequence[Item]) -> Batch:
    """Stack items to a batch. Raises UsageError when their videos differ in shape."""
    shapes = {tuple(item["video"].shape) for item in items}
    if len(shapes) > 1:
        raise UsageError(f"clips of shapes {sorted(shapes)} cannot be one batch; give them one length and size")
    return {
        "video": torch.stack([item["video"] for item in items]),
        "index": torch.tensor([item["index"] for item in items], dtype=torch.int64),
    }


def single_threaded(worker: int) -> None:  # noqa: ARG001 - torch hands over the worker's number
    """Keep a loader's worker to one core: pass it as `worker_init_fn`."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
