"""The one-call API. In memory: `inpaint`, `outpaint`. From file to file, for clips of any length: `fill_file`."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framefill.errors import MaskMismatch, UsageError
from framefill.families import get
from framefill.families.base import Filled
from framefill.families.whole import fill_whole
from framefill.jobs.geometry import Geometry, Pad, pad_to_aspect
from framefill.jobs.record import RunRecord
from framefill.jobs.runner import Progress, run
from framefill.jobs.settings import FillSettings
from framefill.media.mask import Mask, read_mask
from framefill.media.reader import open_video
from framefill.media.video import Video, VideoMeta

VideoLike = Video | NDArray[np.uint8] | str | Path
MaskLike = Mask | NDArray[np.bool_] | NDArray[np.uint8] | str | Path


def inpaint(video: VideoLike, mask: MaskLike, model: str = "auto") -> Filled:
    """Fill the masked part of a clip in memory; the same pixels that `fill_file` makes of the same clip.

    `video` is a Video, a path, or uint8 T H W 3 RGB. `mask` is a Mask, a path, bool T H W (True = unknown), uint8 T H W (above 127 =
    unknown), or one such picture H W for all frames. Returns frames uint8 T H W 3, equal to `video` outside the mask,
    with provenance (0 known, 1 propagated, 2 generated) and what remains unfilled. Raises UsageError, MaskMismatch, MediaError.
    """
    frames = _frames(video)
    return fill_whole(frames, _mask(mask, frames, video), get(model))


def outpaint(
    video: VideoLike,
    *,
    pad: tuple[int, int, int, int] | None = None,
    aspect: Fraction | str | float | None = None,
    model: str = "auto",
) -> Filled:
    """Make the picture larger in memory: `pad` (left, top, right, bottom) pixels, or up to the display ratio `aspect` such as "16:9".

    `video` as for `inpaint`. Returns the larger frames; the known picture stands in them bit for bit.
    """
    from framefill.jobs.settings import parse_aspect

    if (pad is None) == (aspect is None):
        raise UsageError("outpaint needs one of pad and aspect; give pad=(left, top, right, bottom) or aspect='16:9'")
    frames = _frames(video)
    height, width = frames.shape[1:3]
    sides = Pad(*pad) if pad is not None else pad_to_aspect(_meta(video, width, height), parse_aspect(str(aspect)))
    geometry = Geometry((width, height), sides)
    border = geometry.mask(np.zeros((height, width), np.bool_))
    canvas = np.stack([geometry.picture(frame) for frame in frames])
    return fill_whole(canvas, np.broadcast_to(border, canvas.shape[:3]), get(model))


def fill_file(settings: FillSettings, progress: Callable[[Progress], None] | None = None) -> RunRecord:
    """Fill a file and write a file, with sound and frame times kept, in constant memory; an interrupted call goes on when repeated.

    Raises UsageError, MediaError or JobError.
    """
    return run(settings, progress=progress)


def _frames(video: VideoLike) -> NDArray[np.uint8]:
    frames = Video.read(video).frames if isinstance(video, str | Path) else video.frames if isinstance(video, Video) else video
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise UsageError(f"video is {frames.dtype} {frames.shape}, expected uint8 T H W 3 with no side 0")
    return frames


def _mask(mask: MaskLike, frames: NDArray[np.uint8], video: VideoLike) -> NDArray[np.bool_]:
    if isinstance(mask, str | Path):
        if not isinstance(video, str | Path):
            raise UsageError("a mask file is matched to a video file by size and time; give the video's path too, or read_mask(...)")
        with open_video(video) as reader:
            mask = read_mask(mask, reader)
    array = mask.frames if isinstance(mask, Mask) else mask
    hidden = array > 127 if array.dtype == np.uint8 else array.astype(np.bool_, copy=False)
    if hidden.ndim == 2:
        hidden = np.broadcast_to(hidden, frames.shape[:3])
    if array.dtype not in (np.uint8, np.bool_) or hidden.shape != frames.shape[:3]:
        wanted = f"bool or uint8 {frames.shape[:3]}, or one picture {frames.shape[1:3]}"
        raise MaskMismatch(f"mask is {array.dtype} {array.shape}, video is {frames.shape}; give {wanted}")
    return hidden


def _meta(video: VideoLike, width: int, height: int) -> VideoMeta:
    if isinstance(video, Video):
        return video.meta
    if isinstance(video, str | Path):
        with open_video(video) as reader:
            return reader.meta
    return VideoMeta(width, height, Fraction(1, 25))
