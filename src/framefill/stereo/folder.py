"""Depth from a folder of pictures, one for each frame of the video: 8 or 16-bit PNG, as `exchange`, iw3 and others write them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from framefill.errors import UnreadableMedia, UsageError
from framefill.media.images import find_frames
from framefill.stereo.depth import Depth, Frames, Reading, check_frames, file_safe
from framefill.stereo.exchange import LAYOUT, read_note, stored_range

IW3 = "iw3_export.yml"  # lies beside the folder of depth, or above it
FULL = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


class FolderDepth:
    """The pictures of a folder in natural order of their names: the n-th goes with the n-th frame, 0 = first.

    Values are 0..1 of what the samples hold (or the range that their text chunks tell), float32 as it stands. `is_normalised`: what
    lies there went through a normaliser before, and wants `normalise.AsItIs`. `count`: how many there are. Raises UnreadableMedia for a
    folder without pictures, or from which some are missing.
    """

    def __init__(self, folder: Path, means: Reading) -> None:
        if not folder.is_dir():
            raise UnreadableMedia(f"{folder} is no folder; give the folder that holds one PNG of depth a frame")
        folder = _depth_folder(folder)
        self.name = file_safe(f"files-{folder.resolve().name}")
        self.is_metric = means.is_metric
        self._means = means
        self._folder = folder
        self._files = find_frames(folder) or []
        self.count = len(self._files)
        note = read_note(folder)
        if note is not None and note.frames != self.count:
            raise UnreadableMedia(f"{folder} holds {self.count} pictures of depth, {note.frames} were written; put the missing ones back")
        made_by_iw3 = any((place / IW3).is_file() for place in (folder, folder.parent))
        self.is_normalised = (note is not None or made_by_iw3) and stored_range(self._files[0]) is None
        self._next = 0

    def infer(self, frames: Frames) -> Depth:
        """Give T h w for the next T frames, at the pictures' size. Raises UsageError when the folder ends before the video."""
        check_frames(frames)
        after = self._next + len(frames)
        if after > self.count:
            raise UsageError(f"{self._folder} holds depth for {self.count} frames, the video has {after} or more; give one picture a frame")
        maps = [_read(path) for path in self._files[self._next : after]]
        for path, one in zip(self._files[self._next : after], maps, strict=True):
            if one.shape != maps[0].shape:
                raise UnreadableMedia(f"{path} is {one.shape[1]}x{one.shape[0]}, those before it are not; give pictures of one size")
        self._next = after
        return self._means.raw(np.stack(maps))

    def reset(self) -> None:
        """A cut does not change which picture is next."""

    def seek(self, index: int) -> None:
        """The next frame is number `index`."""
        self._next = index


def _depth_folder(folder: Path) -> Path:
    """The folder itself, or the part of an export that holds the depth."""
    inside = folder / LAYOUT
    return inside if inside.is_dir() and not any(path.suffix.lower() == ".png" for path in folder.iterdir()) else folder


def _read(path: Path) -> Depth:
    try:
        samples = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error) as error:
        raise UnreadableMedia(f"{path} cannot be read as a picture of depth; replace it") from error
    if samples is None:
        raise UnreadableMedia(f"{path} is damaged or no picture; replace it")
    if samples.ndim == 3:
        colours = samples[..., :3]
        if (colours != colours[..., :1]).any():
            raise UnreadableMedia(f"{path} is in colour; give depth in grey, near = bright")
        samples = colours[..., 0]
    if samples.dtype == np.float32:
        return np.asarray(samples, np.float32)
    if samples.dtype not in FULL:
        raise UnreadableMedia(f"{path} holds {samples.dtype} samples; give 8 or 16 bits of grey")
    depth = samples.astype(np.float32) / np.float32(FULL[samples.dtype])
    told = stored_range(path)
    if told is not None:
        low, high = told
        depth = np.float32(low) + depth * np.float32(high - low)
    return depth
