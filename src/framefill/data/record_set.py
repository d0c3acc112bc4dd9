"""Records as a torch data set: a stretch of frames, a crop around the hole, the mask grown and the colours changed a little.

The augmentation is that of nunif's iw3 trainer: time reversal, growth of stereo holes to the background's side by 1 to 20 pixels and to
the object's by 1 to 4, the best of four crops by the area of the hole, colours. Mirrored only where left and right mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch.utils.data import Dataset

from framefill.data.records import ORIENTED, Record, list_records
from framefill.errors import UsageError
from framefill.media.tasks import TASKS

Frames = NDArray[np.uint8]
Masks = NDArray[np.bool_]
Sampling = Literal["random", "fixed"]
CROPS = 4  # drawn, of which the one with most hole is taken
OUTER, INNER = (0.5, 20), (0.25, 4)  # how often a stereo hole is grown, and by how many pixels at most
COLOURED, GREY = 0.5, 0.05


class RecordItem(TypedDict):
    """One training sample: `video` uint8 T H W 3, `mask` bool T H W (True = unknown), `task` the number of its kind."""

    video: torch.Tensor
    mask: torch.Tensor
    task: torch.Tensor
    index: int


class RecordDataset(Dataset[RecordItem]):
    """Crops of `size` pixels and `frames` frames from the records of a folder (or records in hand).

    What `dataset[i]` is depends on (seed, epoch, i) alone. sampling: "random" augments as the module tells; "fixed" takes the middle
    frames and the crop with most hole on a grid of a quarter of `size`, for evaluation. flip: the probability of mirroring, for kinds
    without orientation. tasks: the names by which `task` numbers the kinds. Every mask has an unknown pixel. Records with fewer frames
    are left out: `left_out` counts them. Raises UnreadableMedia, UsageError when none is left or one is smaller than `size`.
    """

    def __init__(
        self,
        records: str | Path | Sequence[Record],
        frames: int = 12,
        size: int = 256,
        seed: int = 0,
        *,
        sampling: Sampling = "random",
        flip: float = 0.5,
        tasks: Sequence[str] = tuple(TASKS),
    ) -> None:
        if frames < 1 or size < 1:
            raise UsageError(f"frames {frames}, size {size}: expected numbers above 0")
        found = list_records(Path(records)) if isinstance(records, str | Path) else list(records)
        self.records = [record for record in found if len(record) >= frames]
        self.left_out = len(found) - len(self.records)
        if not self.records:
            where = f"{records} holds" if isinstance(records, str | Path) else "there is"
            longest = f" of {frames} frames (the longest has {max(map(len, found))})" if found else ""
            raise UsageError(f"{where} no record{longest}; make some: framefill data records VIDEO -o DIR --seq {max(16, frames)}")
        for record in self.records:
            height, width = record.size()
            if min(height, width) < size:
                raise UsageError(f"{record.folder} is {width}x{height}, crops of {size} were asked for; lower data.size")
        self.frames, self.size, self.seed = frames, size, seed
        self.sampling, self.flip, self._tasks = sampling, flip, list(tasks)
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of another epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> RecordItem:
        record = self.records[index]
        if self.sampling == "fixed":
            video, mask = self._fixed(record)
        else:
            video, mask = self._random(record, np.random.default_rng([self.seed, self._epoch, index]))
        return {
            "video": torch.from_numpy(np.ascontiguousarray(video)),
            "mask": torch.from_numpy(np.ascontiguousarray(mask)),
            "task": torch.tensor(self._tasks.index(record.kind)),
            "index": index,
        }

    def _fixed(self, record: Record) -> tuple[Frames, Masks]:
        start = (len(record) - self.frames) // 2
        video, mask = _with_a_hole(record, start, self.frames)
        area = _Area(mask)
        H, W = mask.shape[1:]
        step = max(1, self.size // 4)
        places = [(top, left) for top in range(0, H - self.size + 1, step) for left in range(0, W - self.size + 1, step)]
        return _cut(video, mask, area.best(places, self.size), self.size)

    def _random(self, record: Record, rng: Generator) -> tuple[Frames, Masks]:
        start = int(rng.integers(0, len(record) - self.frames, endpoint=True))
        video, mask = _with_a_hole(record, start, self.frames)
        if rng.random() < 0.5:
            video, mask = video[::-1], mask[::-1]
        right, left = (int(rng.integers(1, most, endpoint=True)) if rng.random() < often else 0 for often, most in (OUTER, INNER))
        if record.kind in ORIENTED:
            mask = grown_sideways(mask, left, right)
        H, W = mask.shape[1:]
        places = [tuple(rng.integers(0, (H - self.size, W - self.size), endpoint=True).tolist()) for _ in range(CROPS)]
        video, mask = _cut(video, mask, _Area(mask).best(places, self.size), self.size)
        if rng.random() < self.flip and record.kind not in ORIENTED:
            video, mask = video[:, :, ::-1], mask[:, :, ::-1]
        return recoloured(video, rng), mask


def grown_sideways(mask: Masks, left: int, right: int) -> Masks:
    """Grow a mask T H W by so many pixels to the left (the object's side of a stereo hole) and to the right (the background's)."""
    if left == right == 0:
        return mask
    row = np.ones((1, left + right + 1), np.uint8)
    grown = [cv2.dilate(frame.view(np.uint8), row, anchor=(right, 0), borderType=cv2.BORDER_CONSTANT, borderValue=0) for frame in mask]
    return np.stack(grown).astype(np.bool_)


def recoloured(video: Frames, rng: Generator) -> Frames:
    """Half of the clips as they are, a few grey, else each channel scaled by 0.7 to 0.9 and lifted by what that leaves; T H W 3."""
    if rng.random() >= COLOURED:
        return video
    if rng.random() < GREY:
        grey = np.rint(video.mean(axis=3, keepdims=True)).astype(np.uint8)
        return np.broadcast_to(grey, video.shape)
    scale = rng.uniform(0.7, 0.9, size=3)
    table = np.arange(256)[:, None] * scale + 255 * rng.uniform(0, 1 - scale)  # 256 3
    table = np.rint(np.clip(table, 0, 255)).astype(np.uint8)
    return np.stack([table[video[..., channel], channel] for channel in range(3)], axis=3)


class _Area:
    """The area of the hole in any rectangle of a mask T H W, over all frames, by an integral image."""

    def __init__(self, mask: Masks) -> None:
        self._count = mask.sum(axis=0, dtype=np.int32)
        self._sums = np.asarray(cv2.integral(self._count.astype(np.float64), sdepth=cv2.CV_64F))

    def best(self, places: Sequence[tuple[int, ...]], size: int) -> tuple[int, int]:
        """Return the place (top, left) whose square holds most hole, the first of equals; around a hole's pixel where all hold none."""
        tops, lefts = np.array(places).T
        sums = self._sums
        areas = sums[tops + size, lefts + size] - sums[tops, lefts + size] - sums[tops + size, lefts] + sums[tops, lefts]
        most = int(areas.argmax())
        if areas[most] > 0:
            return int(tops[most]), int(lefts[most])
        H, W = self._count.shape
        row, column = np.unravel_index(int(self._count.argmax()), self._count.shape)
        return int(np.clip(row - size // 2, 0, H - size)), int(np.clip(column - size // 2, 0, W - size))


def _with_a_hole(record: Record, start: int, frames: int) -> tuple[Frames, Masks]:
    """Read a stretch of a record; where its mask is empty there, the whole record's frames are looked through for the fullest one."""
    video, mask = record.read(start, start + frames)
    if mask.any():
        return video, mask
    video, mask = record.read()
    areas = np.concatenate([[0], np.cumsum(mask.sum(axis=(1, 2)))])
    start = int((areas[frames:] - areas[:-frames]).argmax())
    if not mask[start : start + frames].any():
        raise UsageError(f"{record.folder} has an empty mask: there is nothing to learn from it; remove it")
    return video[start : start + frames], mask[start : start + frames]


def _cut(video: Frames, mask: Masks, place: tuple[int, int], size: int) -> tuple[Frames, Masks]:
    rows, columns = slice(place[0], place[0] + size), slice(place[1], place[1] + size)
    return video[:, rows, columns], mask[:, rows, columns]
