"""The parts of a picture in which there is something to do: rectangles around the holes, each with its surroundings."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, order=True)
class Region:
    """A rectangle of pixels, `left <= x < right`, `top <= y < bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> tuple[slice, slice]:
        """Rows and columns, to index a picture with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top

    def grown(self, margin: int, height: int, width: int) -> Region:
        """Return the rectangle with a margin all round, cut at the picture's edge."""
        return Region(
            max(self.left - margin, 0), max(self.top - margin, 0), min(self.right + margin, width), min(self.bottom + margin, height)
        )

    def meets(self, other: Region) -> bool:
        """Whether the two share a pixel."""
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom

    def joined(self, other: Region) -> Region:
        """Return the smallest rectangle that holds both."""
        return Region(min(self.left, other.left), min(self.top, other.top), max(self.right, other.right), max(self.bottom, other.bottom))


def regions_of(hole: NDArray[np.bool_], margin: int) -> list[Region]:
    """Cover a mask (bool H W) by rectangles that hold each hole with `margin` pixels around it and do not overlap, in reading order."""
    height, width = hole.shape
    if not hole.any():
        return []
    left, top, wide, high = cv2.boundingRect(hole.view(np.uint8))
    part = np.ascontiguousarray(hole[top : top + high, left : left + wide])
    _, _, stats, _ = cv2.connectedComponentsWithStats(part.view(np.uint8), connectivity=8)
    boxes = [
        Region(int(left + x), int(top + y), int(left + x + w), int(top + y + h)).grown(margin, height, width) for x, y, w, h, _ in stats[1:]
    ]
    return sorted(_merged(boxes), key=lambda box: (box.top, box.left))


def _merged(boxes: list[Region]) -> list[Region]:
    """Join rectangles until none meets another."""
    apart: list[Region] = []
    for box in boxes:
        joined = box
        while hits := [other for other in apart if other.meets(joined)]:
            for other in hits:
                apart.remove(other)
                joined = joined.joined(other)
        apart.append(joined)
    return apart
