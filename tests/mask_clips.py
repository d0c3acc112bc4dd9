"""What the mask tests share: clips for a mask to fit, and writers of mask files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from framefill.media.video import Frame, VideoMeta

H, W, T = 24, 40, 6


@dataclass(frozen=True)
class Clip:
    """A black clip that only tells what a mask must fit: `count` frames at `fps`, as a folder of frames or as a file with a clock."""

    meta: VideoMeta
    count: int
    path: Path = Path("clip")

    def seconds(self, frame: Frame) -> float:
        return float(frame.pts * self.meta.time_base)

    def __iter__(self) -> Iterator[Frame]:
        rgb = np.zeros((self.meta.height, self.meta.width, 3), np.uint8)
        for index in range(self.count):
            yield Frame(index, rgb, index, 1)


def clip(count: int = T, height: int = H, width: int = W, fps: int = 25, **meta: object) -> Clip:
    base = VideoMeta(width, height, Fraction(1, fps), Fraction(fps), count, duration=count / fps, kind="animation")
    return Clip(replace(base, **meta), count)


def disc(height: int = H, width: int = W, radius: int = 6, dx: int = 0) -> NDArray[np.bool_]:
    y, x = np.ogrid[:height, :width]
    return (y - height // 2) ** 2 + (x - width // 2 - dx) ** 2 <= radius**2


def moving(count: int = T) -> NDArray[np.bool_]:
    """A disc that moves 2 pixels a frame: no two frames are the same."""
    return np.stack([disc(dx=2 * t - count) for t in range(count)])


def write_video(
    path: Path, frames: Sequence[NDArray[np.uint8]], fps: int = 25, codec: str = "ffv1", pix_fmt: str = "bgr0", crf: int = 0
) -> Path:
    """Frames uint8 H W 3, losslessly unless another codec is named."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options={"crf": str(crf)} if codec == "libx264" else {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def grey(mask: NDArray[np.bool_], low: int = 0, high: int = 255) -> NDArray[np.uint8]:
    """A mask H W as a grey picture H W 3."""
    return np.repeat(np.where(mask, high, low).astype(np.uint8)[..., None], 3, axis=2)
