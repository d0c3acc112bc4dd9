"""Rectangles as a mask: `x,y,w,h` in pixels of the video as shown, with an optional `@start-end` in seconds."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError

_NUMBER = r"\d+(?:\.\d*)?"
_FORM = re.compile(rf"(-?\d+),(-?\d+),(\d+),(\d+)(?:@({_NUMBER})?-({_NUMBER})?)?")
_SLACK = 1e-6  # seconds; a frame's time is a rounded fraction


@dataclass(frozen=True)
class Box:
    """A rectangle with its left upper corner at (x, y), `width` by `height` pixels, unknown from `start` until before `end` seconds."""

    x: int
    y: int
    width: int
    height: int
    start: float = 0.0
    end: float = math.inf

    def __str__(self) -> str:
        size = f"{self.width}x{self.height} at ({self.x}, {self.y})"
        if self.start == 0 and math.isinf(self.end):
            return size
        return f"{size} from {self.start:g} s" + ("" if math.isinf(self.end) else f" to {self.end:g} s")

    def covers(self, seconds: float) -> bool:
        """Whether the box is there in a frame shown at `seconds`."""
        return self.start - _SLACK <= seconds < self.end - _SLACK


def parse_box(text: str) -> Box:
    """A box as written on the command line, such as "40,20,90,80" or "40,20,90,80@1.5-3" (either time may be left out).

    Raises UsageError for another form, an empty rectangle, or an end that is not after its start.
    """
    found = _FORM.fullmatch(text.replace(" ", ""))
    if found is None:
        raise UsageError(f"--box {text!r} is not of the form x,y,w,h or x,y,w,h@start-end; e.g. 40,20,90,80@1.5-3")
    x, y, width, height = (int(number) for number in found.groups()[:4])
    start, end = found.groups()[4:]
    box = Box(x, y, width, height, float(start) if start else 0.0, float(end) if end else math.inf)
    if width == 0 or height == 0:
        raise UsageError(f"--box {text!r} is {width}x{height}, expected at least one pixel")
    if box.end <= box.start:
        raise UsageError(f"--box {text!r} ends at {box.end:g} s, before it starts; write @start-end in seconds")
    return box


class Boxes:
    """Several boxes drawn into frames of one size; `understood` and `warnings` say what became of each."""

    def __init__(self, boxes: Sequence[Box | str], width: int, height: int, duration: float | None) -> None:
        self.boxes = tuple(parse_box(box) if isinstance(box, str) else box for box in boxes)
        self.understood = [f"box {box}: unknown" for box in self.boxes]
        self.warnings: list[str] = []
        self._size = (height, width)
        for box in self.boxes:
            if box.x >= width or box.y >= height or box.x + box.width <= 0 or box.y + box.height <= 0:
                raise UsageError(f"box {box} lies outside the {width}x{height} frame; give x,y,w,h in pixels of the video as shown")
            if box.x < 0 or box.y < 0 or box.x + box.width > width or box.y + box.height > height:
                self.warnings.append(f"box {box} reaches over the edge of the {width}x{height} frame: cut off at the edge")
            if duration is not None and box.start >= duration:
                self.warnings.append(f"box {box} starts after the video's end ({duration:.2f} s): it is in no frame")

    @property
    def timed(self) -> bool:
        """Whether any box is there for a part of the time only."""
        return any(box.start > 0 or not math.isinf(box.end) for box in self.boxes)

    def present(self, seconds: float) -> tuple[int, ...]:
        """Which boxes are there at a time, by number."""
        return tuple(number for number, box in enumerate(self.boxes) if box.covers(seconds))

    def draw(self, numbers: Sequence[int]) -> NDArray[np.bool_]:
        """Those boxes as a mask bool H W, united."""
        mask = np.zeros(self._size, np.bool_)
        for number in numbers:
            box = self.boxes[number]
            mask[max(0, box.y) : box.y + box.height, max(0, box.x) : box.x + box.width] = True
        return mask
