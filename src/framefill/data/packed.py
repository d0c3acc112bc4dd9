"""Packed clips as torch data sets: by number where the disk can seek, as a stream where it cannot."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from framefill.data.crop import crop, maybe_flipped, nearer, pair
from framefill.data.dataset import Item
from framefill.data.footage import resized
from framefill.data.shards import Member, shards_of
from framefill.errors import UnreadableMedia, UsageError

BUFFER = 64  # pieces that a stream mixes


class ShardDataset(Dataset[Item]):
    """Pieces of packed clips by number, from shards on a disk that can seek: item `i` is a pure function of (seed, epoch, i).

    Each item is `frames` frames at `size`, cut out of its piece at a random time and place, mirrored with probability `flip`; out of
    a picture up to `zoom` times larger than what just covers the crop. Pieces that are too short are left out (`left_out`). Raises
    UnreadableMedia when shards are missing, UsageError when no piece is long enough.
    """

    def __init__(
        self, folder: str | Path, frames: int, size: int | tuple[int, int], seed: int = 0, *, flip: float = 0.5, zoom: float = 1.0
    ) -> None:
        self.frames, self.size, self.seed, self.flip, self.zoom = frames, pair(size), seed, flip, zoom
        self._epoch = 0
        entries = [entry for path in shards_of(folder) for entry in _entries(path)]
        self.pieces = sorted((entry for entry in entries if entry.frames >= frames), key=lambda entry: entry.number)
        self.left_out = len(entries) - len(self.pieces)
        if not self.pieces:
            raise UsageError(f"no piece in {folder} has {frames} frames; pack longer ones: framefill data shard --frames")

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of another epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> Item:
        entry = self.pieces[index]
        members = []
        with entry.shard.open("rb") as file:
            for name, offset, size in entry.members:
                file.seek(offset)
                members.append((name, file.read(size)))
        return {**_drawn(members, entry.frames, self, self._epoch, entry.number), "index": index}


class ShardStream(IterableDataset[Item]):
    """The same pieces as a stream, for storage that only reads in order: shards are dealt to processes and their loaders' workers.

    rank of world: this process among all. `buffer` pieces are mixed. What a piece gives in an epoch does not depend on who reads it; the
    order does. One pass is one epoch; processes whose shards hold fewer pieces end earlier. Raises UsageError when there are fewer shards
    than readers.
    """

    def __init__(
        self,
        folder: str | Path,
        frames: int,
        size: int | tuple[int, int],
        seed: int = 0,
        *,
        flip: float = 0.5,
        zoom: float = 1.0,
        rank: int = 0,
        world: int = 1,
        buffer: int = BUFFER,
    ) -> None:
        if not 0 <= rank < world or buffer < 1:
            raise UsageError(f"rank {rank} of {world}, buffer {buffer}: expected a rank below the world's size, and 1 or more")
        self.frames, self.size, self.seed, self.flip, self.zoom = frames, pair(size), seed, flip, zoom
        self._shards, self._rank, self._world, self._buffer = shards_of(folder), rank, world, buffer
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the draws of another epoch; call it before iterating."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Item]:
        info = get_worker_info()
        workers, worker = (info.num_workers, info.id) if info is not None else (1, 0)
        readers, reader = self._world * workers, self._rank * workers + worker
        if len(self._shards) < readers:
            raise UsageError(f"{len(self._shards)} shards for {readers} readers; pack smaller shards (--each) or use fewer workers")
        rng = np.random.default_rng([self.seed, self._epoch])
        mine = [self._shards[index] for index in rng.permutation(len(self._shards))[reader::readers]]
        mixing = np.random.default_rng([self.seed, self._epoch, reader])
        held: list[Item] = []
        for item in self._items(mine):
            held.append(item)
            if len(held) == self._buffer:
                yield _taken(held, mixing)
        while held:
            yield _taken(held, mixing)

    def _items(self, shards: Sequence[Path]) -> Iterator[Item]:
        for path in shards:
            for key, members in _samples(path):
                frames = _length(members)
                if frames >= self.frames:
                    yield _drawn(members, frames, self, self._epoch, int(key))


@dataclass(frozen=True)
class Entry:
    """One packed piece: its `members` (name, offset, size) in a shard, `frames` frames in all; `number` is its key."""

    shard: Path
    number: int
    frames: int
    members: tuple[tuple[str, int, int], ...]


def _samples(path: Path) -> Iterator[tuple[str, list[Member]]]:
    """Key and members of each sample of a shard, read in order."""
    try:
        with tarfile.open(path, "r|") as tar:
            for key, group in groupby(tar, key=lambda info: info.name.partition(".")[0]):
                yield key, [(info.name, _data(tar, info)) for info in group]
    except tarfile.TarError as error:
        raise UnreadableMedia(f"{path} is damaged ({error}); remove it and run framefill data shard again") from error


def _data(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    return b"" if file is None else file.read()


def _entries(path: Path) -> list[Entry]:
    """Where the samples of a shard lie; only the headers and descriptions are read."""
    entries = []
    try:
        with tarfile.open(path, "r:") as tar:
            for key, group in groupby(tar.getmembers(), key=lambda info: info.name.partition(".")[0]):
                infos = list(group)
                described = json.loads(next(_data(tar, info) for info in infos if info.name.endswith(".json")))
                members = tuple((info.name, info.offset_data, info.size) for info in infos if not info.name.endswith(".json"))
                entries.append(Entry(path, int(key), int(described["frames"]), members))
    except (tarfile.TarError, ValueError, KeyError, StopIteration) as error:
        raise UnreadableMedia(f"{path} is damaged ({error}); remove it and run framefill data shard again") from error
    return entries


def _length(members: Sequence[Member]) -> int:
    described = next(data for name, data in members if name.endswith(".json"))
    return int(json.loads(described)["frames"])


def _drawn(members: Sequence[Member], frames: int, wanted: ShardDataset | ShardStream, epoch: int, number: int) -> Item:
    """Cut an item out of a piece."""
    rng = np.random.default_rng([wanted.seed, epoch, number])
    start = int(rng.integers(0, frames - wanted.frames, endpoint=True))
    place = rng.random(2)
    clip = crop(_covering(_decode(members, start, wanted.frames), wanted.size, wanted.zoom, rng), wanted.size, place)
    return {"video": torch.from_numpy(maybe_flipped(clip, rng, wanted.flip)), "index": number}


def _decode(members: Sequence[Member], start: int, count: int) -> NDArray[np.uint8]:
    """Frames `start` .. `start + count` of a piece."""
    packed = [data for name, data in members if name.endswith(".npy")]
    if packed:
        return np.asarray(np.load(io.BytesIO(packed[0])), np.uint8)[start : start + count]
    pictures = [data for name, data in members if name.endswith(".jpg")][start : start + count]
    return np.stack([_picture(data) for data in pictures])


def _picture(data: bytes) -> NDArray[np.uint8]:
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise UnreadableMedia("a packed frame is no JPEG; remove the shard and run framefill data shard again")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _covering(frames: NDArray[np.uint8], size: tuple[int, int], zoom: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shrink packed frames until they just cover `size`, or by up to `zoom` less.

    Making them larger would invent what was thrown away, and is refused.
    """
    scale = max(size[0] / frames.shape[1], size[1] / frames.shape[2])
    if scale > 1:
        came = f"{frames.shape[2]}x{frames.shape[1]}"
        raise UsageError(f"clips are packed at {came}, {size[1]}x{size[0]} was asked for; pack them with a larger --size")
    covering = max(size[0], round(frames.shape[1] * scale)), max(size[1], round(frames.shape[2] * scale))
    target = nearer(covering, (frames.shape[1], frames.shape[2]), zoom, rng)
    return np.stack([resized(frame, target) for frame in frames])


def _taken(held: list[Item], rng: np.random.Generator) -> Item:
    """Take one of the held items, any."""
    index = int(rng.integers(len(held)))
    held[index], held[-1] = held[-1], held[index]
    return held.pop()
