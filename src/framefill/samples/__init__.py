"""The clips that the package carries, so that `framefill demo` works right after the install; their origin stands in SOURCES.md."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Scene = Literal["vtest", "city"]
SampleName = Literal["city.mp4", "city-mask.mp4", "vtest.mp4", "vtest-mask.mp4"]

SCENES: dict[Scene, tuple[SampleName, SampleName]] = {  # a clip and its mask
    "vtest": ("vtest.mp4", "vtest-mask.mp4"),
    "city": ("city.mp4", "city-mask.mp4"),
}


def sample(name: SampleName) -> Path:
    """The path of one packaged file: `NAME.mp4` is a clip, `NAME-mask.mp4` its mask (white = to be made), frame by frame."""
    return Path(__file__).parent / name
