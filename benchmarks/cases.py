"""Clips, masks, simple methods to compare with, and the figures of merit that fill.py puts together."""

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

from framefill.media.reader import open_video

Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W, True = to be made

BOX = (90, 80)  # width and height in pixels: 6.9 % of 432x240
BOX_TOP = 80
TELEA_RADIUS = 3  # pixels, as in OpenCV's own example


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


def box_at(t: int, size: tuple[int, int], moving: bool = True, box: tuple[int, int] = BOX, top: int = BOX_TOP) -> NDArray[np.bool_]:
    """The mask of frame `t`, bool H W: a box that stands at x = 150 or swings between x = 60 and x = 332, as in the reference figures."""
    mask = np.zeros((size[1], size[0]), bool)
    left = round(60 + 272 * (0.5 + 0.5 * math.sin(t / 12))) if moving else 150
    left = min(left, size[0] - box[0])
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


def telea(frames: Frames, mask: Mask) -> Frames:
    """Each frame by itself, OpenCV's Telea with radius `TELEA_RADIUS`."""
    pairs = zip(frames, mask, strict=True)
    return np.stack([cv2.inpaint(frame, hole.view(np.uint8), TELEA_RADIUS, cv2.INPAINT_TELEA) for frame, hole in pairs]).astype(np.uint8)


def temporal_median(frames: Frames, mask: Mask) -> Frames:
    """The median over the clip of what is known at each pixel; Telea where nothing ever is."""
    ever = np.asarray(mask.any(axis=0))
    known = np.where(mask[:, ever, None], np.nan, frames[:, ever].astype(np.float32))  # t n c
    seen = ~np.isnan(known[..., 0]).all(axis=0)
    middle = np.zeros((*ever.shape, 3), np.uint8)
    middle[np.nonzero(ever)[0][seen], np.nonzero(ever)[1][seen]] = np.nanmedian(known[:, seen], axis=0).round().astype(np.uint8)
    unseen = ever.copy()
    unseen[ever] = ~seen
    out = np.where(mask[..., None], middle, frames)
    return telea(out, mask & unseen) if unseen.any() else out


def psnr(truth: NDArray[np.uint8], made: NDArray[np.uint8]) -> float:
    """Peak signal to noise ratio in dB, at most 100."""
    error = float(np.mean((truth.astype(np.float32) - made.astype(np.float32)) ** 2))
    return min(100.0, 10 * math.log10(255**2 / max(error, 1e-9)))


def score(truth: Frames, made: Frames, mask: Mask) -> tuple[float, float]:
    """Mean over the frames of the PSNR inside the hole, and of the PSNR of the whole frame, in dB."""
    triples = list(zip(truth, made, mask, strict=True))
    hole = [psnr(a[hidden], b[hidden]) for a, b, hidden in triples if hidden.any()]
    return float(np.mean(hole)), float(np.mean([psnr(a, b) for a, b, _ in triples]))
