"""Clips packed into tar files, small and in a mixed order: what disks and network drives read fastest.

Names follow WebDataset: a sample is a run of members with one key, `00000042.json` (its line of the manifest) beside `00000042.npy`
(uint8 T H W 3) or `00000042.0000.jpg`, `00000042.0001.jpg`, ... Any reader of that format reads them; this one needs no other package.
Which clip lies in which shard is decided before the first is written, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np

from framefill.data.crop import cover
from framefill.data.footage import Footage
from framefill.data.manifest import Clip, Split
from framefill.data.progress import Progress, Step, silent
from framefill.data.windows import FASTER, chosen_clips
from framefill.errors import UnreadableMedia, UsageError

Encoding = Literal["npy", "jpg"]
INDEX = "shards.json"

Member = tuple[str, bytes]  # its name in the tar file, its content
Piece = tuple[Clip, float]  # frames of a source, and how many of them are between two that are kept


@dataclass(frozen=True)
class ShardSettings:
    """How clips are packed: resized to a shorter side of `size`, at `fps` (None = as they are), in pieces of at most `frames` frames.

    A rest of less than `least` frames is left out. `each` pieces make a shard. jpg takes a tenth of the space of npy, at `quality`.
    """

    size: int
    frames: int = 64
    least: int = 16
    fps: float | None = None
    encoding: Encoding = "npy"
    quality: int = 95
    each: int = 256
    split: Split | None = "train"
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.size, self.frames, self.least, self.each) < 1 or self.least > self.frames:
            raise UsageError(
                f"size {self.size}, frames {self.frames}, least {self.least}, each {self.each}: expected 1 or more, least <= frames"
            )
        if self.encoding not in get_args(Encoding) or not 1 <= self.quality <= 100:
            raise UsageError(f"encoding {self.encoding!r}, quality {self.quality}: expected npy or jpg, and 1 to 100")


def write_shards(
    manifest: str | Path | Sequence[Clip], output: Path, settings: ShardSettings, workers: int = 2, progress: Progress = silent
) -> list[Path]:
    """Write `output`/00000.tar, ... and `output`/shards.json; return the shards. Shards that are there already are left as they are.

    Raises UsageError when no piece is long enough, or when the folder holds shards of other clips or settings; UnreadableMedia.
    """
    pieces = _pieces(chosen_clips(manifest, settings.split), settings)
    if not pieces:
        raise UsageError(f"no clip has {settings.least} frames at the rate asked for; ask for shorter pieces or another rate")
    order = np.random.default_rng(settings.seed).permutation(len(pieces))
    shards = [[(int(index), pieces[index]) for index in order[at : at + settings.each]] for at in range(0, len(pieces), settings.each)]
    _claim(output, settings, pieces, len(shards))
    paths = [output / f"{number:05}.tar" for number in range(len(shards))]
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        for path, shard in zip(paths, shards, strict=True):
            if not path.exists():
                part = path.with_suffix(".part")
                with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
                    for at in range(0, len(shard), 2 * workers):  # no more pieces than these are held in memory
                        for members in pool.map(partial(_pack, settings=settings), shard[at : at + 2 * workers]):
                            _add(tar, members)
                part.replace(path)
            done += len(shard)
            progress(Step(done, len(pieces)))
    return paths


def shards_of(folder: str | Path) -> list[Path]:
    """List the shards of a folder that `write_shards` has finished. Raises UnreadableMedia when it has not."""
    base = Path(folder)
    try:
        count = int(json.loads((base / INDEX).read_text(encoding="utf-8"))["shards"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableMedia(f"{base} holds no shards ({INDEX}: {error}); pack some with framefill data shard") from error
    paths = [base / f"{number:05}.tar" for number in range(count)]
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise UnreadableMedia(f"{len(missing)} of {count} shards are missing in {base}; run the same framefill data shard command again")
    return paths


def _pieces(clips: Sequence[Clip], settings: ShardSettings) -> list[Piece]:
    """Cut clips into pieces of at most `frames` frames at the wanted rate; with each the source's frames from one to the next."""
    pieces = []
    for clip in clips:
        if settings.fps is not None and clip.fps * FASTER < settings.fps:
            continue
        step = 1.0 if settings.fps is None else max(1.0, clip.fps / settings.fps)
        length, least = (int((count - 1) * step) + 1 for count in (settings.frames, settings.least))
        for start in range(clip.start, clip.end, length):
            end = min(start + length, clip.end)
            if end - start >= least:
                pieces.append((replace(clip, start=start, end=end), step))
    return pieces


def _claim(output: Path, settings: ShardSettings, pieces: Sequence[Piece], count: int) -> None:
    """Write what the folder is to hold, or see that it is to hold the same."""
    content = "\n".join(f"{clip.sha256 or clip.path} {clip.start} {clip.end} {step}" for clip, step in pieces)
    digest = hashlib.sha256(content.encode()).hexdigest()
    wanted = {"settings": asdict(settings), "pieces": len(pieces), "shards": count, "content": digest}
    index = output / INDEX
    if index.exists():
        try:
            same = json.loads(index.read_text(encoding="utf-8")) == wanted
        except ValueError:
            same = False
        if not same:
            raise UsageError(f"{output} holds shards of other clips or settings; choose another folder, or remove it")
        return
    output.mkdir(parents=True, exist_ok=True)
    part = index.with_suffix(".part")
    part.write_text(json.dumps(wanted), encoding="utf-8")
    part.replace(index)


def _add(tar: tarfile.TarFile, members: Sequence[Member]) -> None:
    for name, data in members:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def _pack(numbered: tuple[int, Piece], settings: ShardSettings) -> list[Member]:
    """One piece as members of a tar file."""
    number, (clip, step) = numbered
    footage = Footage(clip.path)
    height, width = cover(footage.meta, (settings.size, settings.size))
    frames = footage.read([clip.start + int(k * step) for k in range(int((len(clip) - 1) / step) + 1)], (height, width))
    about = {**asdict(clip), "path": str(clip.path), "fps": clip.fps / step, "frames": len(frames)}
    members = [(f"{number:08}.json", json.dumps(about).encode())]
    if settings.encoding == "npy":
        file = io.BytesIO()
        np.save(file, np.stack(frames))
        return [*members, (f"{number:08}.npy", file.getvalue())]
    for index, rgb in enumerate(frames):
        _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, settings.quality])
        members.append((f"{number:08}.{index:04}.jpg", data.tobytes()))
    return members
