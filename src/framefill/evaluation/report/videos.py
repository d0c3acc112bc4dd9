"""Moving and still pictures of a clip's results side by side: truth, what was given, and what each model made of it.

Everything is read from the run's own videos, at most `MOST_FRAMES` frames of a clip; pictures are scaled to look at, nothing here
is measured but where to look.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from framefill.evaluation.report.read import Clip, Run
from framefill.media.reader import open_video
from framefill.media.video import Frame, VideoMeta
from framefill.media.writer import VideoWriter

Picture = NDArray[np.uint8]  # H W 3
MOST_FRAMES = 300  # of a clip in the side-by-side video
PANEL = 320  # pixels: the longer side of one picture in the video
STRIP = 360  # pixels: the longer side of one picture in a strip of key frames
BAR = 20  # pixels above a panel for its name
LEAST_CLOSE_UP = 48  # pixels: what is smaller is not worth a picture of its own
DARK = (27, 29, 31)
CRF = 27  # x264's quality: small files, to look at


@dataclass(frozen=True)
class Panel:
    """One of the pictures that stand side by side: its name, where its frames lie, and whether a model made it."""

    label: str
    path: Path
    made: bool


@dataclass(frozen=True)
class Still:
    """One picture of a strip, uint8 h w 3, scaled to be looked at."""

    label: str
    rgb: Picture

    def jpeg(self, quality: int) -> bytes:
        """The picture as JPEG of a quality 1 .. 95."""
        out = io.BytesIO()
        Image.fromarray(self.rgb).save(out, "JPEG", quality=quality)
        return out.getvalue()


@dataclass(frozen=True)
class KeyFrame:
    """The frame `index` of every panel, and cut-outs of the part (left, top, right, bottom) where the models differ, if it is small."""

    index: int
    whole: tuple[Still, ...]
    part: tuple[int, int, int, int] | None
    close: tuple[Still, ...]


def panels(run: Run, clip: Clip) -> list[Panel]:
    """Return what the run kept of a clip, videos or folders of frames and the mask, in the order in which it is shown."""
    folder = run.folder / "clips" / clip.name
    named = [("truth", False), ("given", False), *((model, True) for model in run.models)]
    found = [Panel(name, path, made) for name, made in named for path in (folder / f"{name}.mp4", folder / name) if path.exists()]
    if found and (mask := folder / "mask.npz").is_file():
        found.insert(sum(not panel.made for panel in found), Panel("mask", mask, made=False))
    return found


def montage(shown: Sequence[Panel], path: Path) -> list[Picture]:
    """Write the panels side by side, each under its name, as one H.264 file; return every frame's map of where the models differ.

    The maps are uint8 h w, a quarter of a panel's size: the range of the models' values, or with one model its distance from the
    truth. The clip ends with its shortest panel. Raises `UnreadableMedia`, `UnwritableMedia`.
    """
    moving = [panel for panel in shown if panel.label != "mask"]
    with open_video(moving[0].path) as reader:
        fps, size = reader.meta.fps or Fraction(25), _fitted(reader.meta.width, reader.meta.height, PANEL)
    columns = len(moving) if len(moving) <= 3 else (len(moving) + 1) // 2 if len(moving) <= 8 else 4
    rows = -(-len(moving) // columns)
    gap, cell = 4, (size[0], size[1] + BAR)
    width, height = columns * cell[0] + (columns - 1) * gap, rows * cell[1] + (rows - 1) * gap
    sheet = np.full((height + height % 2, width + width % 2, 3), DARK, np.uint8)
    places = [(position % columns * (cell[0] + gap), position // columns * (cell[1] + gap)) for position in range(len(moving))]
    for panel, (x, y) in zip(moving, places, strict=True):
        sheet[y : y + BAR, x : x + size[0]] = _name_bar(panel.label, size[0])
    meta = VideoMeta(sheet.shape[1], sheet.shape[0], 1 / fps, fps, pix_fmt="yuv420p")
    path.parent.mkdir(parents=True, exist_ok=True)
    maps = []
    with VideoWriter(path, meta, codec="h264", crf=CRF) as writer:
        for index, pictures in enumerate(islice(_together(moving), MOST_FRAMES)):
            scaled = [_scaled(picture, size) for picture in pictures]
            for picture, (x, y) in zip(scaled, places, strict=True):
                sheet[y + BAR : y + BAR + size[1], x : x + size[0]] = picture
            writer.write(Frame(index, sheet, index, 1), sheet)
            maps.append(_disagreement(moving, scaled))
    return maps


def pick(maps: Sequence[Picture], count: int) -> list[int]:
    """Return the numbers of at most `count` frames where the maps are largest, in order, no two of them close together."""
    scores = [float(found.mean()) for found in maps]
    apart = max(len(scores) // (2 * count), 1)
    chosen: list[int] = []
    for index in sorted(range(len(scores)), key=lambda index: (-scores[index], index)):
        if all(abs(index - other) >= apart for other in chosen):
            chosen.append(index)
        if len(chosen) == count:
            break
    return sorted(chosen)


def key_frames(shown: Sequence[Panel], maps: Sequence[Picture], count: int, close_ups: bool) -> list[KeyFrame]:
    """Return the `count` frames where the models differ most, each as a strip of pictures. Raises `UnreadableMedia`."""
    wanted = pick(maps, count)
    found = []
    for index, pictures in enumerate(islice(_together(shown), wanted[-1] + 1 if wanted else 0)):
        if index not in wanted:
            continue
        part = _part(maps[index], pictures[0].shape) if close_ups else None
        whole = tuple(_still(panel.label, picture) for panel, picture in zip(shown, pictures, strict=True))
        close: tuple[Still, ...] = ()
        if part is not None:
            left, top, right, bottom = part
            cuts = zip(shown, pictures, strict=True)
            close = tuple(_still(panel.label, picture[top:bottom, left:right]) for panel, picture in cuts if panel.label != "mask")
        found.append(KeyFrame(index, whole, part, close))
    return found


def data_uri(kind: str, data: bytes) -> str:
    """Return bytes as a `data:` URI of the media type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _together(shown: Sequence[Panel]) -> Iterator[list[Picture]]:
    """Yield the panels' frames of one number together, all of the first panel's size, up to the end of the shortest."""
    with ExitStack() as stack:
        passes = [stack.enter_context(closing(_frames(panel.path))) for panel in shown]
        for pictures in zip(*passes, strict=False):
            size = pictures[0].shape[1], pictures[0].shape[0]
            yield [_scaled(picture, size) for picture in pictures]


def _frames(path: Path) -> Generator[Picture, None, None]:
    if path.suffix == ".npz":
        for mask in np.load(path, allow_pickle=False)["mask"]:
            yield np.repeat(mask.astype(np.uint8)[..., None] * np.uint8(255), 3, axis=2)
        return
    with open_video(path) as reader:
        for frame in reader:
            yield frame.rgb


def _scaled(picture: Picture, size: tuple[int, int]) -> Picture:
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    way = cv2.INTER_AREA if size[0] < picture.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)


def _fitted(width: int, height: int, longest: int) -> tuple[int, int]:
    """Return the size, in even numbers, at which the longer side is at most `longest`."""
    scale = min(longest / max(width, height), 1)
    return max(round(width * scale / 2) * 2, 2), max(round(height * scale / 2) * 2, 2)


def _name_bar(label: str, width: int) -> Picture:
    bar = Image.new("RGB", (width, BAR), DARK)
    ImageDraw.Draw(bar).text((6, BAR / 2), label, fill=(255, 255, 255), anchor="lm", font=ImageFont.load_default(13))
    return np.asarray(bar)


def _disagreement(shown: Sequence[Panel], pictures: Sequence[Picture]) -> Picture:
    """Return where the models' pictures of one frame differ: the range of their values, a quarter of their size."""
    made = [picture for panel, picture in zip(shown, pictures, strict=True) if panel.made]
    if len(made) == 1:
        made += [picture for panel, picture in zip(shown, pictures, strict=True) if panel.label == "truth"]
    if not made:
        made = [pictures[0]]
    stack = np.stack(made)
    span = (stack.max(axis=0) - stack.min(axis=0)).max(axis=2)
    return _scaled(span, (max(span.shape[1] // 4, 1), max(span.shape[0] // 4, 1)))


def _part(where: Picture, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Return the box (left, top, right, bottom; pixels) around where the models differ, None where that is most of the picture or tiny."""
    strong = where > max(24, int(where.max()) // 3)
    rows, columns = np.flatnonzero(strong.any(axis=1)), np.flatnonzero(strong.any(axis=0))
    if not len(rows):
        return None
    height, width = shape[:2]
    down, across = height / where.shape[0], width / where.shape[1]
    room = 0.12 * max((rows[-1] + 1 - rows[0]) * down, (columns[-1] + 1 - columns[0]) * across)
    top, bottom = max(int(rows[0] * down - room), 0), min(int((rows[-1] + 1) * down + room), height)
    left, right = max(int(columns[0] * across - room), 0), min(int((columns[-1] + 1) * across + room), width)
    if (bottom - top) * (right - left) > 0.45 * height * width or min(bottom - top, right - left) < LEAST_CLOSE_UP:
        return None
    return left, top, right, bottom


def _still(label: str, picture: Picture) -> Still:
    return Still(label, _scaled(picture, _fitted(picture.shape[1], picture.shape[0], STRIP)))
