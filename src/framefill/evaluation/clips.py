"""Finding clips in a folder and reading them at a protocol's size: the layouts that data sets and people use."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import FramefillError, MaskMismatch, UnreadableMedia, UsageError
from framefill.media.images import find_frames, natural_key
from framefill.media.mask import MaskRule, open_mask
from framefill.media.reader import open_video
from framefill.media.video import Frames

Masks = NDArray[np.bool_]
Resize = Literal["linear", "bicubic", "area"]
RESIZES: dict[str, int] = {"linear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
VIDEOS = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".mpg", ".mpeg", ".m4v", ".ts", ".gif", ".apng"}
PICTURE_PARTS = ("frames", "video", "source", "truth")  # what a clip's own folder may call the clip


def find_clips(folder: Path) -> dict[str, Path]:
    """Find a folder's clips by name, in natural order: its video files, and its subfolders that hold frames or one clip.

    A subfolder `NAME` is a clip when it holds pictures, or `frames/` or `video.*`, or exactly one video file. Where `folder` holds
    neither videos nor such subfolders but pictures, it is one clip itself; a video file given instead of a folder is one clip too.
    Raises UnreadableMedia where nothing is found, UsageError where two clips have one name.
    """
    if folder.is_file():
        return {folder.stem: folder}
    if not folder.is_dir():
        raise UnreadableMedia(f"{folder} does not exist; give a folder of clips (videos, or folders of frames)")
    clips: dict[str, Path] = {}
    for entry in sorted(folder.iterdir(), key=natural_key):
        found = _clip_at(entry)
        if found is None:
            continue
        name = entry.name if entry.is_dir() else entry.stem
        if name in clips:
            raise UsageError(f"{clips[name]} and {found} would both be called {name!r}; rename one")
        clips[name] = found
    if not clips and _holds_pictures(folder):
        return {folder.resolve().name: folder}
    if not clips:
        raise UnreadableMedia(f"{folder} holds no clip; expected video files, or folders of frames")
    return clips


def find_part(folder: Path, clip: str, names: Sequence[str]) -> Path | None:
    """Find what belongs to `clip` under one of `names`: `folder/clip/NAME(.ext)` or `folder/NAME/clip(.ext)`; None when there is none."""
    for name in names:
        for parent, stem in ((folder / clip, name), (folder / name, clip)):
            if not parent.is_dir():
                continue
            for entry in sorted(parent.iterdir(), key=natural_key):
                if (entry.is_dir() and entry.name == stem) or (entry.is_file() and entry.stem == stem):
                    return entry
    return None


def read_clip(path: Path, size: tuple[int, int] | None, most: int | None, resize: Resize = "linear") -> Frames:
    """Read the first `most` frames (None: all), each resized to `size` (width, height; None: as it is), as uint8 T H W 3.

    Raises UnreadableMedia.
    """
    with open_video(path) as reader:
        frames = [resized(frame.rgb, size, resize) for frame in islice(reader, most)]
    if not frames:
        raise UnreadableMedia(f"{path} holds no frame that could be decoded")
    return np.stack(frames)


def resized(rgb: NDArray[np.uint8], size: tuple[int, int] | None, resize: Resize) -> NDArray[np.uint8]:
    """Resize a picture H W 3 to `size` (width, height) by the named filter; the same picture where it has that size."""
    if size is None or (rgb.shape[1], rgb.shape[0]) == size:
        return rgb
    return np.asarray(cv2.resize(rgb, size, interpolation=RESIZES[resize]), np.uint8)


def read_masks(path: Path, clip: Path, size: tuple[int, int] | None, most: int | None) -> Masks:
    """Read the mask of the first `most` frames of `clip` by the program's own rules, then resize it by nearest to `size`: bool T H W.

    Raises MaskMismatch when it does not fit the clip.
    """
    with open_video(clip) as reader:
        mask = open_mask(path, reader, MaskRule())
        return np.stack([_nearest(mask.at(frame), size) for frame in islice(reader, most)])


def read_masks_any(path: Path, size: tuple[int, int], frames: int) -> Masks:
    """Read the masks of an evaluation set: every level above 0 is hole, nearest resize to `size`, one for each of `frames` or one for all.

    Raises MaskMismatch when their number is neither.
    """
    with open_video(path) as reader:
        masks = [_nearest(frame.rgb.max(axis=2) > 0, size) for frame in islice(reader, frames)]
    if len(masks) == 1:
        masks *= frames
    if len(masks) != frames:
        raise MaskMismatch(f"{path} has {len(masks)} masks, its clip {frames} frames; give one mask a frame, or one for all")
    return np.stack(masks)


def _nearest(mask: Masks, size: tuple[int, int] | None) -> Masks:
    if size is None or (mask.shape[1], mask.shape[0]) == size:
        return mask
    return np.asarray(cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)).astype(np.bool_)


def _clip_at(entry: Path) -> Path | None:
    """Return what to open for a folder's entry, None when it is no clip."""
    if entry.name.startswith("."):
        return None
    if entry.is_file():
        return entry if entry.suffix.lower() in VIDEOS else None
    if not entry.is_dir():
        return None
    inside = sorted((each for each in entry.iterdir() if not each.name.startswith(".")), key=natural_key)
    for name in PICTURE_PARTS:
        for each in inside:
            named = each.name == name if each.is_dir() else each.stem == name and each.suffix.lower() in VIDEOS
            if named and (each.is_file() or _holds_pictures(each)):
                return each
    videos = [each for each in inside if each.is_file() and each.suffix.lower() in VIDEOS]
    if len(videos) == 1:
        return videos[0]
    return entry if not videos and _holds_pictures(entry) else None


def _holds_pictures(folder: Path) -> bool:
    try:
        return bool(find_frames(folder))
    except FramefillError:
        return False
