"""What a mask was taken for, in words and in one picture: `framefill mask check`.

The contact sheet shows frames from the whole clip with the mask drawn over them (tinted, with an outline), the frame's number,
time and share, and below them the share of every frame along the clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from framefill.errors import UsageError
from framefill.media.mask import MaskReader, Target
from framefill.media.part import Part
from framefill.media.video import Frame

_TINT = np.array([255, 32, 96], np.float32)  # a red that neither skin, grass nor sky comes near
_GROUND, _INK, _FAINT, _ACCENT, _WARNING = (24, 26, 30), (232, 234, 238), (150, 156, 166), (255, 72, 120), (255, 196, 64)
_MARGIN, _GAP, _LINE = 24, 12, 20
_WIDTH = 1440
_TIMELINE = 72

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


@dataclass(frozen=True)
class MaskCheck:
    """What the check of a mask found: `lines` and `warnings` to print, the share of every video frame (float64), and the sheet's path."""

    lines: tuple[str, ...]
    warnings: tuple[str, ...]
    shares: NDArray[np.float64]
    sheet: Path | None


@dataclass(frozen=True)
class _Thumbnail:
    index: int
    seconds: float
    share: float
    picture: NDArray[np.uint8]


def check_mask(video: Target, mask: MaskReader, sheet: str | Path | None = None, pictures: int = 12) -> MaskCheck:
    """Read a clip with its mask from end to end, say what was understood, and draw the contact sheet (a PNG) if a path is given.

    pictures: about how many frames the sheet shows (1-60), evenly spread, the first and the last among them. Memory is independent
    of the clip's length. Raises UsageError for another number, MaskMismatch or UnreadableMedia as `MaskReader.at` does,
    UnwritableMedia when the sheet cannot be written.
    """
    if not 1 <= pictures <= 60:
        raise UsageError(f"{pictures} pictures asked for, expected 1 to 60")
    columns = _columns(pictures, video.meta.width / video.meta.height)
    width = (_WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) // columns
    chosen = _Spread(pictures)
    shares: list[float] = []
    for frame in video:
        unknown = mask.at(frame)
        shares.append(float(np.count_nonzero(unknown) / unknown.size))
        chosen.offer(frame.index, partial(_thumbnail, frame, video.seconds(frame), unknown, width))
    lines = (*mask.understood, *_summary(np.array(shares)))
    warnings = (*mask.warnings, *_doubts(np.array(shares)))
    path = None if sheet is None else Path(sheet)
    if path is not None:
        picture = _draw(chosen.taken(), columns, width, np.array(shares), lines, warnings)
        _save(picture, path)
    return MaskCheck(lines, warnings, np.array(shares), path)


class _Spread:
    """Evenly spread items of a stream whose length is unknown: the step doubles whenever too many have been taken."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._step = 1
        self._items: list[_Thumbnail] = []
        self._last: tuple[int, Callable[[], _Thumbnail]] | None = None

    def offer(self, index: int, make: Callable[[], _Thumbnail]) -> None:
        self._last = index, make
        if index % self._step:
            return
        self._items.append(make())
        if len(self._items) > 4 * self._wanted:
            self._items = self._items[::2]
            self._step *= 2

    def taken(self) -> list[_Thumbnail]:
        """`wanted` of them, or all when there are fewer, with the very last item as the last."""
        items = [*self._items]
        if self._last is not None and items[-1].index != self._last[0]:
            items.append(self._last[1]())
        picked = np.unique(np.linspace(0, len(items) - 1, min(self._wanted, len(items))).round().astype(int))
        return [items[number] for number in picked]


def overlay(rgb: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture uint8 H W 3 with its mask bool H W drawn over it: tinted inside, a white line along its rim."""
    out = rgb.copy()
    tinted = np.clip(0.55 * rgb[mask] + 0.45 * _TINT, 0, 255)
    out[mask] = tinted.astype(np.uint8)
    outlines, _ = cv2.findContours(np.ascontiguousarray(mask).view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(out, outlines, -1, (255, 255, 255), 1)
    return out


def _thumbnail(frame: Frame, seconds: float, mask: NDArray[np.bool_], width: int) -> _Thumbnail:
    height = max(1, round(width * frame.rgb.shape[0] / frame.rgb.shape[1]))
    by = cv2.INTER_AREA if width < frame.rgb.shape[1] else cv2.INTER_NEAREST
    picture = np.asarray(cv2.resize(frame.rgb, (width, height), interpolation=by), np.uint8)
    # A thin hole must not vanish in a small picture: any unknown pixel makes its place unknown.
    cover = np.asarray(cv2.resize(mask.astype(np.float32), (width, height), interpolation=by)) > 0
    return _Thumbnail(frame.index, seconds, float(np.count_nonzero(mask) / mask.size), overlay(picture, cover))


def _columns(pictures: int, aspect: float) -> int:
    """As many columns as keep the pictures readable: four for landscape, six for portrait."""
    return min(pictures, 4 if aspect >= 1 else 6)


def _summary(shares: NDArray[np.float64]) -> list[str]:
    if not shares.size:
        return []
    empty, full = int(np.count_nonzero(shares == 0)), int(np.count_nonzero(shares == 1))
    count = f"{shares.size} video frame{'s' * (shares.size > 1)}"
    lines = [f"{count}: unknown {_percent(shares.mean())} of the picture on average, {_percent(shares.min())} to {_percent(shares.max())}"]
    if empty:
        lines.append(f"{empty} of {count} have nothing to fill")
    if full:
        lines.append(f"{full} of {count} are unknown as a whole")
    return lines


def _doubts(shares: NDArray[np.float64]) -> list[str]:
    if shares.size and not shares.any():
        return ["the mask is empty: nothing is unknown in any frame"]
    if shares.size and (shares == 1).all():
        return ["the mask is full: every pixel of every frame is unknown, nothing is left to fill it from"]
    return []


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %" if 0 < share < 0.1 else f"{100 * share:.1f} %"


def _draw(
    thumbnails: list[_Thumbnail], columns: int, width: int, shares: NDArray[np.float64], lines: Sequence[str], warnings: Sequence[str]
) -> Image.Image:
    text = _wrapped([(line, _INK) for line in lines] + [(f"warning: {line}", _WARNING) for line in warnings])
    rows = -(-len(thumbnails) // columns)
    cell = (thumbnails[0].picture.shape[0] if thumbnails else 0) + _LINE + 6
    top = _MARGIN + _LINE * len(text) + _GAP
    height = top + rows * (cell + _GAP) + _TIMELINE + 2 * _LINE + _MARGIN
    sheet = Image.new("RGB", (_WIDTH, height), _GROUND)
    draw = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(15), ImageFont.load_default(13)
    for number, (line, ink) in enumerate(text):
        draw.text((_MARGIN, _MARGIN + number * _LINE), line, fill=ink, font=font)
    for number, thumbnail in enumerate(thumbnails):
        left = _MARGIN + number % columns * (width + _GAP)
        upper = top + number // columns * (cell + _GAP)
        sheet.paste(Image.fromarray(thumbnail.picture), (left, upper))
        below = upper + thumbnail.picture.shape[0] + 5
        draw.text((left, below), f"frame {thumbnail.index}   {thumbnail.seconds:.2f} s", fill=_FAINT, font=small)
        draw.text((left + width, below), _percent(thumbnail.share), fill=_INK, font=small, anchor="ra")
    _draw_timeline(draw, shares, height - _MARGIN - _LINE - _TIMELINE, [thumbnail.index for thumbnail in thumbnails], small)
    return sheet


def _draw_timeline(draw: ImageDraw.ImageDraw, shares: NDArray[np.float64], top: int, marks: list[int], font: Font) -> None:
    """The share of each frame as a bar along the clip; where several frames fall on one pixel, the largest. Ticks are the frames shown."""
    left, right = _MARGIN, _WIDTH - _MARGIN
    bottom = top + _TIMELINE
    draw.text((left, top - _LINE), "unknown share of the picture along the clip", fill=_FAINT, font=font)
    ceiling = float(shares.max()) if shares.size and shares.max() > 0 else 1.0
    draw.text((right, top - _LINE), f"top line {_percent(ceiling)}", fill=_FAINT, font=font, anchor="ra")
    edges = np.linspace(0, shares.size, right - left + 1)
    for x in range(right - left):
        first = int(edges[x])
        bar = shares[first : max(first + 1, int(np.ceil(edges[x + 1])))]
        if bar.size and bar.max() > 0:
            draw.line((left + x, bottom - max(1, round(_TIMELINE * float(bar.max()) / ceiling)), left + x, bottom), fill=_ACCENT)
    draw.line((left, top, right, top), fill=(70, 74, 82))
    draw.line((left, bottom, right, bottom), fill=_FAINT)
    for index in marks:
        x = left + int((index + 0.5) / shares.size * (right - left))
        draw.line((x, bottom, x, bottom + 6), fill=_INK)
    if shares.size:
        draw.text((left, bottom + 8), "0", fill=_FAINT, font=font)
        draw.text((right, bottom + 8), f"{shares.size - 1}", fill=_FAINT, font=font, anchor="ra")


def _wrapped(lines: list[tuple[str, tuple[int, int, int]]]) -> list[tuple[str, tuple[int, int, int]]]:
    """Lines cut at blanks to the sheet's width, about 175 letters at this font's size."""
    import textwrap

    return [(part, ink) for line, ink in lines for part in textwrap.wrap(line, 175, subsequent_indent="    ")]


def _save(picture: Image.Image, path: Path) -> None:
    with Part(path) as part:
        with part.writing():
            picture.save(part.path, format="PNG")
        part.keep()
