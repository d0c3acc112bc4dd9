"""Depth and frames of a clip as a folder of pictures, to be looked at, mended and read back, with times, sound and the rest beside them.

FOLDER/stereo.json     what the depth is, and where shots begin
FOLDER/depth/000000.png   16 bits, 65535 = near
FOLDER/frames/000000.png  8 bits a colour
FOLDER/rest.mp4        the clip's times, sound, subtitles and metadata under black pictures (or .mkv, .mov: as the clip)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
from PIL import Image

from framefill.errors import UnreadableMedia, UsageError
from framefill.jobs.eyes import Seen
from framefill.media.codecs import CONTAINERS
from framefill.media.part import Part
from framefill.media.reader import VideoReader, open_video
from framefill.media.video import Frame
from framefill.media.writer import VideoWriter
from framefill.stereo.depth import get_provider
from framefill.stereo.exchange import LAYOUT, DepthWriter

INDEX, FRAMES, REST = "stereo.json", "frames", "rest"
FORMAT = 1
BLACK = np.zeros((16, 16, 3), np.uint8)


def is_export(path: str | Path) -> bool:
    """Whether a path is a folder that `Export` has written."""
    return (Path(path) / INDEX).is_file()


class Export:
    """A folder in the making: it has its name once every frame is in it, and is gone when something went wrong before.

    Raises UsageError for a folder that holds something else, UnwritableMedia where it cannot be written.
    """

    def __init__(self, folder: Path, reader: VideoReader, depth: str, is_metric: bool) -> None:
        if folder.is_dir() and any(folder.iterdir()) and not is_export(folder):
            raise UsageError(f"--export {folder} holds other files; give a new or empty folder")
        self._part = Part(folder, folder=True)
        self._about = {"format": FORMAT, "depth": depth, "is_metric": is_metric}
        self._shots: list[int] = []
        self._count = 0
        suffix = reader.path.suffix.lower()
        turns = suffix in CONTAINERS and CONTAINERS[suffix].turns
        # MP4 for what has no sound of its own: it keeps any frame time exactly.
        self._rest = f"{REST}{suffix if turns else '.mkv' if reader.meta.kind == 'container' else '.mp4'}"
        with ExitStack() as stack:
            stack.enter_context(self._part)
            stack.push(self._conclude)
            with self._part.writing():
                (self._part.path / FRAMES).mkdir()
            self._depth = stack.enter_context(DepthWriter(self._part.path / LAYOUT))
            self._writer = stack.enter_context(VideoWriter(self._part.path / self._rest, reader, size=(BLACK.shape[1], BLACK.shape[0])))
            self._open = stack.pop_all()
        self.warnings = self._writer.warnings

    def kept(self, seen: Iterator[Seen]) -> Iterator[Seen]:
        """Give every frame on, once it is in the folder."""
        for each in seen:
            self._depth.write(each.depth)
            with self._part.writing():
                Image.fromarray(each.frame.rgb).save(self._part.path / FRAMES / f"{self._count:06d}.png", compress_level=1)
            self._writer.write(replace(each.frame, native=None), BLACK)
            if each.shot == len(self._shots):
                self._shots.append(self._count)
            self._count += 1
            yield each

    def __enter__(self) -> Export:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.__exit__(kind, error, trace)

    def _conclude(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Say what is in the folder, and give it its name; called when pictures and rest are whole."""
        if kind is not None:
            return
        about = {**self._about, "frames": self._count, "shots": self._shots, "rest": self._rest}
        with self._part.writing():
            (self._part.path / INDEX).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        self._part.keep()


@dataclass(frozen=True)
class _Index:
    """What stands in `stereo.json`."""

    depth: str
    is_metric: bool
    frames: int
    shots: tuple[int, ...]
    rest: str


class Exported:
    """A folder that `Export` has written, read back: `reader` has its frames, with the clip's times and all that follows a picture.

    Raises UnreadableMedia for a folder in which something is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = _read_index(folder / INDEX)
        self.depth, self.is_metric = self._index.depth, self._index.is_metric
        self._rest = open_video(folder / self._index.rest)
        for name in (LAYOUT, FRAMES):
            found, count = sorted(path.name for path in (folder / name).glob("*.png")), self._index.frames
            if found != [f"{number:06d}.png" for number in range(count)]:
                raise UnreadableMedia(f"{folder / name} holds {len(found)} pictures, expected {count} from 000000.png on; export anew")
        with Image.open(folder / FRAMES / "000000.png") as first:
            width, height = first.size
        meta = replace(self._rest.meta, width=width, height=height, num_frames=self._index.frames)
        self.warnings = self._rest.warnings
        self.meta = meta
        self.reader = VideoReader(self._rest.path, self)

    def frames(self, start: int) -> Iterator[Frame]:
        """The frames from number `start` on, at the clip's times."""
        count = start
        for black in self._rest.frames(start):
            path = self._folder / FRAMES / f"{count:06d}.png"
            try:
                with Image.open(path) as image:
                    rgb = np.asarray(image.convert("RGB"), np.uint8)
            except (OSError, ValueError) as error:
                raise UnreadableMedia(f"{path} cannot be read as a picture; export anew") from error
            if rgb.shape[:2] != (self.meta.height, self.meta.width):
                size, wanted = f"{rgb.shape[1]}x{rgb.shape[0]}", f"{self.meta.width}x{self.meta.height}"
                raise UnreadableMedia(f"{path} is {size}, the first frame {wanted}; give frames of one size")
            yield replace(black, index=count, rgb=rgb, native=None)
            count += 1
        if count != self._index.frames:
            raise UnreadableMedia(f"{self._rest.path} has {count} times for {self._index.frames} frames; export anew")

    def seen(self) -> Iterator[Seen]:
        """Give the frames with their depth and shots."""
        provider, begins, shot = get_provider(f"files:{self._folder / LAYOUT}"), set(self._index.shots), -1
        for frame in self.frames(0):
            shot += frame.index in begins
            yield Seen(frame, shot, provider.infer(frame.rgb[None])[0])

    def __enter__(self) -> Exported:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._rest.close()


def _read_index(path: Path) -> _Index:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise UnreadableMedia(f"{path} is of format {about['format']}, expected {FORMAT}; export anew with this framefill")
        index = _Index(
            str(about["depth"]), bool(about["is_metric"]), int(about["frames"]), tuple(map(int, about["shots"])), str(about["rest"])
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableMedia(f"{path} is damaged; export anew") from error
    if index.frames < 1 or index.shots[:1] != (0,) or Path(index.rest).name != index.rest:
        raise UnreadableMedia(f"{path} is damaged; export anew")
    return index
