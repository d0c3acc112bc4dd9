"""Small clips for the tests of `data`, written by PyAV from pictures in hand."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.media.reader import open_video
from framefill.media.synthetic import make_clip
from framefill.media.writer import ordinary_threads

Frames = NDArray[np.uint8]
OPTIONS = {"mpeg4": {"qscale": "3"}, "libsvtav1": {"preset": "10"}, "mpeg2video": {"qscale": "3", "bf": "2"}}


def write_frames(path: Path, frames: Iterable[Frames], fps: int = 25, codec: str = "libx264", crf: int = 12, gop: int = 8) -> Path:
    """Pictures H W 3 as a video, with B-frames where the codec has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ordinary_threads(), av.open(str(path), "w") as out:
        stream = None
        for index, rgb in enumerate(frames):
            if stream is None:
                options = {"g": str(gop), **({"crf": str(crf), "preset": "veryfast"} if codec == "libx264" else OPTIONS[codec])}
                stream = out.add_stream(codec, rate=fps, width=rgb.shape[1], height=rgb.shape[0], pix_fmt="yuv420p", options=options)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            out.mux(stream.encode(frame))
        assert stream is not None
        out.mux(stream.encode(None))
    return path


def scene(seed: int, frames: int = 20, height: int = 72, width: int = 96) -> Frames:
    """A procedural clip T H W 3 that moves."""
    return make_clip(np.random.default_rng(seed), frames, height, width, lighting=0)


def shrunk(path: Path, count: int, size: tuple[int, int] = (96, 72)) -> Frames:
    """The first frames of a video at `size` (width, height)."""
    with open_video(path) as reader:
        return np.stack([cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA) for frame in islice(reader, count)])
