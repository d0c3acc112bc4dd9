"""The one-call API.

In memory: `inpaint`, `outpaint`, `predict`, `interpolate`, `generate`, `to_stereo`. From file to file: `fill_file`, `stereo_file`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framefill.errors import MaskMismatch, UsageError
from framefill.families import get, load
from framefill.families.base import GENERATED, KNOWN, Filled
from framefill.families.larger import each_larger
from framefill.families.onward import most_shown, onward, refuse_onward
from framefill.families.trained import Sampling, resized
from framefill.families.whole import fill_whole
from framefill.jobs.between import between_model, check_factor
from framefill.jobs.eyes import Depths, EyeMaker, EyeSettings
from framefill.jobs.gaps import Timing, by_flow, by_net
from framefill.jobs.generate import GenerateSettings, made_in_memory
from framefill.jobs.geometry import Geometry, Pad, pad_to_aspect
from framefill.jobs.record import RunRecord
from framefill.jobs.runner import Progress, run
from framefill.jobs.settings import FillSettings
from framefill.jobs.stereo import StereoRecord, StereoSettings, stereo
from framefill.media.mask import Mask, read_mask
from framefill.media.reader import open_video
from framefill.media.video import Frame, Video, VideoMeta

VideoLike = Video | NDArray[np.uint8] | str | Path
MaskLike = Mask | NDArray[np.bool_] | NDArray[np.uint8] | str | Path


def inpaint(video: VideoLike, mask: MaskLike, model: str = "auto", sampling: Sampling | None = None) -> Filled:
    """Fill the masked part of a clip in memory; the same pixels that `fill_file` makes of the same clip.

    `video` is a Video, a path, or uint8 T H W 3 RGB. `mask` is a Mask, a path, bool T H W (True = unknown), uint8 T H W (above 127 =
    unknown), or one such picture H W for all frames. `sampling` says how a trained model is run. Returns frames uint8 T H W 3, equal to
    `video` outside the mask, with provenance (0 known, 1 propagated, 2 generated) and what remains unfilled.
    Raises UsageError, MaskMismatch, MediaError.
    """
    frames = _frames(video)
    return fill_whole(frames, _mask(mask, frames, video), get(model, sampling))


def outpaint(
    video: VideoLike,
    *,
    pad: tuple[int, int, int, int] | None = None,
    aspect: Fraction | str | float | None = None,
    model: str = "auto",
    sampling: Sampling | None = None,
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
    return fill_whole(canvas, np.broadcast_to(border, canvas.shape[:3]), get(model, sampling))


def predict(
    video: VideoLike, num_frames: int, *, backward: bool = False, model: str = "vdt-tiny", sampling: Sampling | None = None
) -> Filled:
    """Make `num_frames` frames that follow a clip in memory, or lead up to it with `backward`: what `framefill predict` makes.

    `video` as for `inpaint`. Returns the longer clip, the known frames in it as they are. Raises UsageError for a model that was not
    trained for this, WeightsError for weights that are not there.
    """
    if num_frames < 1:
        raise UsageError(f"num_frames is {num_frames}, expected 1 or more")
    trained = load(model, sampling or Sampling())
    refuse_onward(trained, trained.length, num_frames, backward=backward)
    frames = _frames(video)
    shown = most_shown(trained, num_frames, backward)
    near = frames[:shown] if backward else frames[-shown:]
    height, width = frames.shape[1:3]
    small = resized(near, *trained.work_size(height, width))
    windows = onward(trained, small, num_frames, 0, lambda _: None, backward=backward)
    larger = list(each_larger(windows, near, backward=backward))
    new = np.concatenate(larger[::-1] if backward else larger)
    made = np.repeat([True, False] if backward else [False, True], [num_frames, len(frames)] if backward else [len(frames), num_frames])
    return _joined(np.concatenate((new, frames) if backward else (frames, new)), made)


def interpolate(video: VideoLike, factor: int, *, model: str = "flow", sampling: Sampling | None = None) -> Filled:
    """Make `factor` - 1 frames (`factor` 2 to 32) in every gap of a clip in memory, as `framefill interpolate` does.

    `video` as for `inpaint`. Returns (T - 1) * factor + 1 frames, the known ones as they are.
    Raises UsageError for a model that cannot do this, WeightsError for weights that are not there.
    """
    check_factor(factor)
    trained = between_model(model, sampling, factor)
    clip = [Frame(number, rgb, number * factor, factor) for number, rgb in enumerate(_frames(video))]
    timing = Timing(0, factor, None, ends=True)
    frames = list(by_flow(clip, timing) if trained is None else by_net(clip, timing, trained, factor))
    return _joined(np.stack([frame.rgb for frame, _ in frames]), np.array([new for _, new in frames]))


def generate(
    num_frames: int,
    *,
    image: NDArray[np.uint8] | None = None,
    size: tuple[int, int] | None = None,
    number: int = 0,
    model: str = "vdt-tiny",
    sampling: Sampling | None = None,
) -> NDArray[np.uint8]:
    """Make a clip from noise, or one that begins with the picture `image` (uint8 H W 3); frames uint8 T H W 3.

    `size` is (width, height), by default what the net was trained on. The same seed and `number` give the same clip, alone or among others.
    Raises UsageError for what cannot be meant and for a model that was not trained for it, WeightsError for weights that are not there.
    """
    given = None if image is None else "image"
    settings = GenerateSettings("", num_frames, first=number, image=given, size=size, model=model, sampling=sampling or Sampling())
    return made_in_memory(settings, None if image is None else _frames(image[None]))


@dataclass(frozen=True)
class TwoEyes:
    """What two eyes see: `left` and `right` uint8 T H W 3."""

    left: NDArray[np.uint8]
    right: NDArray[np.uint8]


def to_stereo(video: VideoLike, settings: EyeSettings | None = None) -> TwoEyes:
    """Make what two eyes see of a clip in memory: the pictures that `framefill stereo` arranges.

    `video` as for `inpaint`; `settings` say how deep and by what, None for the program's own. Raises UsageError, WeightsError, MediaError.
    """
    chosen = settings or EyeSettings()
    depths = Depths(chosen)
    maker = EyeMaker(chosen, depths.is_metric)
    frames = [Frame(number, rgb, number, 1) for number, rgb in enumerate(_frames(video))]
    pairs = list(maker.pairs(depths.seen(frames)))
    return TwoEyes(np.stack([pair.left for pair in pairs]), np.stack([pair.right for pair in pairs]))


def stereo_file(settings: StereoSettings, progress: Callable[[Progress], None] = lambda _: None) -> StereoRecord:
    """Give a file a second eye and write a file, with sound and frame times kept, in constant memory. Nothing half stays.

    Raises UsageError, MediaError or WeightsError.
    """
    return stereo(settings, progress)


def fill_file(settings: FillSettings, progress: Callable[[Progress], None] | None = None) -> RunRecord:
    """Fill a file and write a file, with sound and frame times kept, in constant memory; an interrupted call goes on when repeated.

    Raises UsageError, MediaError or JobError.
    """
    return run(settings, progress=progress)


def _joined(frames: NDArray[np.uint8], made: NDArray[np.bool_]) -> Filled:
    """A clip of whole frames, known or made."""
    origin = np.where(made, np.uint8(GENERATED), np.uint8(KNOWN))[:, None, None]
    return Filled(frames, np.broadcast_to(origin, frames.shape[:3]).copy(), np.zeros(frames.shape[:3], np.bool_))


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
