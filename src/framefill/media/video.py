"""Video as framefill sees it at every border: uint8 RGB frames with their times and the source's metadata.

Frames are in display orientation (a rotation flag is applied on reading and undone, with the flag set again, on writing).
Numbers for colour range, matrix, primaries and transfer are those of ITU-T H.273, as FFmpeg uses them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av

    from framefill.media.reader import VideoReader

Frames = NDArray[np.uint8]  # T H W 3

TRANSFER_PQ, TRANSFER_HLG = 16, 18


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture: `rgb` uint8 H W 3 in display orientation, `pts` and `duration` in units of the source's time base."""

    index: int
    rgb: NDArray[np.uint8]
    pts: int
    duration: int
    native: av.VideoFrame | None = None  # the decoder's own frame, in coded orientation, when it can serve the writer


@dataclass(frozen=True)
class Track:
    """A stream beside the picture, as `framefill info` tells it: sound, subtitles, attachments, further pictures, data."""

    index: int
    kind: str
    codec: str
    language: str = ""
    title: str = ""
    detail: str = ""  # such as "48000 Hz stereo"
    duration: float | None = None  # seconds


@dataclass(frozen=True)
class Chapter:
    """A named part of the clip, `start` and `end` in seconds."""

    start: float
    end: float
    title: str = ""


@dataclass(frozen=True)
class VideoMeta:
    """What a source says of itself, in display orientation (`width`, `height`, `sample_aspect_ratio` after rotation)."""

    width: int
    height: int
    time_base: Fraction
    fps: Fraction | None = None  # average; None when unknown
    num_frames: int | None = None  # as the container says or estimates; the truth is known after reading
    rotation: int = 0  # degrees clockwise that a player turns the coded picture: 0, 90, 180, 270
    sample_aspect_ratio: Fraction = Fraction(1)
    pix_fmt: str = "rgb24"
    bit_depth: int = 8
    color_range: int = 0
    color_space: int = 2
    color_primaries: int = 2
    color_trc: int = 2
    codec: str = ""
    container: str = ""
    bit_rate: int | None = None
    duration: float | None = None  # seconds
    kind: Literal["container", "images", "animation"] = "container"
    metadata: dict[str, str] = field(default_factory=dict)
    mirrored: bool = False  # the coded picture is flipped left to right after the rotation
    start_pts: int = 0  # the first picture's pts: `VideoReader.seconds` counts from here
    tracks: tuple[Track, ...] = ()
    chapters: tuple[Chapter, ...] = ()

    @property
    def turned(self) -> bool:
        """Whether width and height of the coded picture are the other way round."""
        return self.rotation in (90, 270)


@dataclass(frozen=True)
class Video:
    """A clip in memory: `frames` uint8 T H W 3 RGB, `times` float64 T seconds from the clip's start."""

    frames: Frames
    times: NDArray[np.float64]
    meta: VideoMeta

    @classmethod
    def read(cls, path: str | Path) -> Video:
        """Decode a whole source into memory; for clips of any length use `stream`. Raises `UnreadableMedia`."""
        from framefill.media.reader import open_video

        with open_video(path) as reader:
            return next(_chunks(reader, None))

    @classmethod
    def stream(cls, path: str | Path, chunk: int) -> Iterator[Video]:
        """Decode a source in pieces of `chunk` frames (the last may be shorter), holding one piece at a time. Raises `UnreadableMedia`."""
        from framefill.media.reader import open_video

        with open_video(path) as reader:
            yield from _chunks(reader, chunk)


def _chunks(reader: VideoReader, size: int | None) -> Iterator[Video]:
    frames: list[NDArray[np.uint8]] = []
    times: list[float] = []
    for frame in reader:
        frames.append(frame.rgb)
        times.append(reader.seconds(frame))
        if len(frames) == size:
            yield Video(np.stack(frames), np.array(times), reader.meta)
            frames, times = [], []
    if frames:
        yield Video(np.stack(frames), np.array(times), reader.meta)
