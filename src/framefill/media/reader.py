"""One door to everything that can be read as video: a file, a folder or glob of frames, an animated or still image."""

from __future__ import annotations

import weakref
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol

from framefill.errors import UnreadableMedia, UsageError
from framefill.media.video import Frame, VideoMeta


class Source(Protocol):
    """Where a reader's frames come from; each call of `frames` starts a pass of its own."""

    meta: VideoMeta
    warnings: list[str]

    def frames(self, start: int) -> Iterator[Frame]:
        """Frames from number `start` on."""


class VideoReader:
    """A source opened for reading: iterate over it for `Frame`s, as often as wanted; each pass decodes lazily from the beginning.

    `meta` is what the source says of itself; `warnings` is filled while reading, one line for each thing that the user should know.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.path = path
        self.meta = source.meta
        self.warnings = source.warnings
        self._source = source
        self._passes: weakref.WeakSet[Iterator[Frame]] = weakref.WeakSet()

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Frames from number `start` on; those before it are decoded but not converted. Raises `UnreadableMedia`."""
        frames = self._source.frames(start)
        self._passes.add(frames)
        return frames

    def seconds(self, frame: Frame) -> float:
        """The time at which a frame is shown, in seconds from the clip's first frame."""
        return float((frame.pts - self.meta.start_pts) * self.meta.time_base)

    def close(self) -> None:
        """End every pass that is still under way and let go of its file."""
        for frames in list(self._passes):
            assert isinstance(frames, Generator)
            frames.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_video(path: str | Path, fps: Fraction | float | None = None) -> VideoReader:
    """Open a video file, a folder, glob (`*.png`) or pattern (`%04d.png`) of frames, an animated GIF, APNG or WebP, or one still image.

    `fps` is for frames without times of their own (folders, globs); None assumes 25 and says so in `warnings`.
    Raises `UnreadableMedia` with one line when there is no picture to be had, `UsageError` when `fps` is given for a source with
    times of its own.
    """
    from framefill.media.images import ANIMATED, STILL, Animation, ImageSequence, find_frames, is_animated

    path = Path(path)
    found = find_frames(path)
    if found is not None:
        return VideoReader(path, ImageSequence(path, found, fps))
    if not path.exists():
        raise UnreadableMedia(f"{path} does not exist; give a video file, a folder or glob of images, or an animation")
    if path.suffix.lower() in STILL and not (path.suffix.lower() in ANIMATED and is_animated(path)):
        return VideoReader(path, ImageSequence(path, [path], fps or 25))
    if fps is not None:
        raise UsageError(f"{path} has frame times of its own; give a frame rate only for a folder or glob of images")
    if path.suffix.lower() in ANIMATED:
        return VideoReader(path, Animation(path))
    from framefill.media.container import ContainerSource

    return VideoReader(path, ContainerSource(path))


def probe(path: str | Path) -> VideoMeta:
    """What a source says of itself, its sound, subtitles and chapters included, after decoding one frame. Raises `UnreadableMedia`."""
    with open_video(path) as reader:
        return reader.meta
