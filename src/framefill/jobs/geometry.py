"""Where the filled picture lies relative to the decoded one: as it is, on a larger canvas, or at half size."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.media.video import VideoMeta


@dataclass(frozen=True)
class Pad:
    """Pixels to add on each side, in display orientation."""

    left: int
    top: int
    right: int
    bottom: int

    def __post_init__(self) -> None:
        sides = (self.left, self.top, self.right, self.bottom)
        if min(sides) < 0 or not any(sides):
            raise UsageError(f"a pad of {','.join(map(str, sides))} adds nothing or takes away; give l,t,r,b >= 0 with one of them > 0")


@dataclass(frozen=True)
class Region:
    """A part of the picture in pixels, `x`, `y` its top left corner."""

    x: int
    y: int
    width: int
    height: int

    @property
    def area(self) -> tuple[slice, slice]:
        """Rows and columns, to index a picture with."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def check_inside(self, name: str, width: int, height: int) -> None:
        """Raise UsageError unless the box is not empty and lies inside a picture of this size."""
        inside = min(self.x, self.y) >= 0 and min(self.width, self.height) > 0
        if not inside or self.x + self.width > width or self.y + self.height > height:
            given = f"{self.x},{self.y},{self.width},{self.height}"
            raise UsageError(f"{name} {given} does not lie inside the picture of {width}x{height}; give x,y,w,h in its pixels")


def pad_to_aspect(meta: VideoMeta, aspect: Fraction) -> Pad:
    """Return the smallest pad that gives the picture the display aspect ratio `aspect`, the new side rounded to an even number.

    The picture stays in the middle, to two pixels: what is added on the left and on the top is even, so that known pixels keep
    their place in the grid of half-resolution colour. Raises UsageError when the picture has that ratio already.
    """
    shown = Fraction(meta.width, meta.height) * meta.sample_aspect_ratio
    if aspect > shown:
        extra = _even(meta.height * aspect / meta.sample_aspect_ratio) - meta.width
        if extra > 0:
            left = extra // 4 * 2
            return Pad(left, 0, extra - left, 0)
    else:
        extra = _even(meta.width * meta.sample_aspect_ratio / aspect) - meta.height
        if extra > 0:
            top = extra // 4 * 2
            return Pad(0, top, 0, extra - top)
    ratio = f"{aspect.numerator}:{aspect.denominator}"
    raise UsageError(f"the picture of {meta.width}x{meta.height} already has the aspect {ratio}; give another one, or --pad")


def _even(length: Fraction) -> int:
    return 2 * round(length / 2)


@dataclass(frozen=True)
class Geometry:
    """The way from a decoded picture (`source` width, height) to the one that is filled: `pad` it, or halve it, or neither."""

    source: tuple[int, int]
    pad: Pad | None = None
    halved: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture that is filled."""
        width, height = self.source
        if self.pad is not None:
            return width + self.pad.left + self.pad.right, height + self.pad.top + self.pad.bottom
        return (max(width // 2, 1), max(height // 2, 1)) if self.halved else (width, height)

    @property
    def changes(self) -> bool:
        """Tell whether the filled picture has another size than the decoded one."""
        return self.size != self.source

    def picture(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bring a decoded picture, uint8 H W 3, to the size that is filled; unknown borders are black."""
        if self.pad is not None:
            canvas = np.zeros((self.size[1], self.size[0], 3), np.uint8)
            canvas[self._inner(self.pad)] = rgb
            return canvas
        return np.asarray(cv2.resize(rgb, self.size, interpolation=cv2.INTER_AREA), np.uint8) if self.changes else rgb

    def mask(self, hidden: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Bring a mask of the decoded picture to the size that is filled: new borders are unknown, and so is each smaller pixel
        of which any part was.
        """
        if self.pad is not None:
            canvas = np.ones((self.size[1], self.size[0]), np.bool_)
            canvas[self._inner(self.pad)] = hidden
            return canvas
        if not self.changes:
            return hidden
        return np.asarray(cv2.resize(hidden.astype(np.float32), self.size, interpolation=cv2.INTER_AREA) > 1e-6)

    def box(self, box: Region) -> Region:
        """Bring a box of the decoded picture to the size that is filled: the smallest one that covers it."""
        (width, height), (columns, rows) = self.source, self.size
        left, top = box.x * columns // width, box.y * rows // height
        right, bottom = -(-(box.x + box.width) * columns // width), -(-(box.y + box.height) * rows // height)
        return Region(left, top, max(right - left, 1), max(bottom - top, 1))

    def _inner(self, pad: Pad) -> tuple[slice, slice]:
        return slice(pad.top, pad.top + self.source[1]), slice(pad.left, pad.left + self.source[0])
