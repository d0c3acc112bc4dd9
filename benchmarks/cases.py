"""Clips, masks, and the figures of merit that fill.py puts together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.evaluation.baselines import get_model
from framefill.evaluation.metrics.pixels import mean_psnr, psnr
from framefill.families.base import Filled
from framefill.families.whole import fill_whole
from framefill.media.reader import open_video

Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W, True = to be made

BOX = (90, 80)  # width and height in pixels: 6.9 % of 432x240
BOX_TOP = 80


def read(path: Path, most: int = 80) -> Frames:
    """The first `most` frames of a video or a folder of frames."""
    with open_video(path) as reader:
        return np.stack([frame.rgb for frame in islice(reader, most)])


def there_and_back(frames: Frames, count: int, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """`count` frames of `size` (width, height): the clip forwards, backwards, forwards, so that a long clip has no cut."""
    for t in range(count):
        phase = t % (2 * len(frames) - 2)
        frame = frames[min(phase, 2 * len(frames) - 2 - phase)]
        yield np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def box_at(t: int, size: tuple[int, int], box: tuple[int, int], top: int) -> NDArray[np.bool_]:
    """The mask of frame `t`, bool H W: a box that swings between x = 60 and x = 332 where there is room."""
    mask = np.zeros((size[1], size[0]), bool)
    left = min(round(60 + 272 * (0.5 + 0.5 * math.sin(t / 12))), size[0] - box[0])
    mask[top : top + box[1], left : left + box[0]] = True
    return mask


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], size: tuple[int, int], rate: int = 25, lossless: bool = False) -> None:
    """H.264 from RGB or grey frames; `lossless` is for masks."""
    options = {"preset": "ultrafast", "qp": "0"} if lossless else {"preset": "veryfast", "crf": "18"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="gray" if picture.ndim == 2 else "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def fill(model: str, frames: Frames, mask: Mask) -> Filled:
    """Fill a clip in memory with a family or a baseline by name."""
    return fill_whole(np.where(mask[..., None], np.uint8(127), frames), mask, get_model(model))


def score(truth: Frames, made: Frames, mask: Mask) -> tuple[float, float]:
    """Mean over the frames of the PSNR inside the hole, and of the PSNR of the whole frame, in dB; a perfect frame counts as 100."""
    return mean_psnr(psnr(made, truth, mask), "cap"), mean_psnr(psnr(made, truth), "cap")
