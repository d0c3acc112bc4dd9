"""Every option that decides how a mask source becomes a mask, and how options are spelled on the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypedDict

from framefill.errors import UsageError

Encoding = Literal["auto", "grey", "ids", "colors", "alpha", "quad"]
Length = Literal["error", "hold", "loop"]
MatchBy = Literal["auto", "time", "frame"]

_LARGEST_RADIUS = 1000


class RuleOptions(TypedDict, total=False):
    """The fields of `MaskRule` as keyword arguments."""

    threshold: int | None
    ids: tuple[int | str, ...]
    invert: bool
    encoding: Encoding
    keep_affected: bool
    dilate: int
    erode: int
    close: int
    feather: int
    length: Length
    match: MatchBy
    key: str | None


@dataclass(frozen=True)
class MaskRule:
    """How a mask source is to be understood; the defaults decide from the values and say what they decided.

    threshold: 0-254, grey or alpha above it is unknown; None = 127 where a threshold applies (a 0/1 file needs none).
    ids: object ids (palette index or grey level) or colours "#rrggbb" that are unknown; empty = every id above 0, every colour but black.
    invert: swap known and unknown at the end of reading.
    encoding: force one reading instead of deciding from the values.
    keep_affected: leave the quad-mask's level 127 known.
    close, erode, dilate: radii in pixels of the video, 0-1000, applied in this order.
    feather: pixels, 0-1000, over which the fill fades in, inside the hole.
    length: what to do when the mask ends before the video. match: frame by frame, by time, or as frame rates and counts suggest.
    key: which array of an .npz file.
    Raises UsageError for a value out of range.
    """

    threshold: int | None = None
    ids: tuple[int | str, ...] = ()
    invert: bool = False
    encoding: Encoding = "auto"
    keep_affected: bool = False
    dilate: int = 0
    erode: int = 0
    close: int = 0
    feather: int = 0
    length: Length = "error"
    match: MatchBy = "auto"
    key: str | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 254:
            raise UsageError(f"threshold is {self.threshold}, expected 0 to 254 (levels above it are unknown)")
        for name in ("dilate", "erode", "close", "feather"):
            radius = getattr(self, name)
            if not 0 <= radius <= _LARGEST_RADIUS:
                raise UsageError(f"{name} is {radius}, expected 0 to {_LARGEST_RADIUS} pixels")
        _one_of("mask encoding", self.encoding, ("auto", "grey", "ids", "colors", "alpha", "quad"))
        _one_of("mask length", self.length, ("error", "hold", "loop"))
        _one_of("mask match", self.match, ("auto", "time", "frame"))
        colors = sum(isinstance(label, str) for label in self.ids)
        if 0 < colors < len(self.ids):
            raise UsageError(f"ids {self.ids} mix numbers and colours; give one kind")
        for label in self.ids:
            if isinstance(label, str):
                parse_color(label)
            elif not 0 <= label <= 65535:
                raise UsageError(f"id {label} is out of range, expected 0 to 65535")
        if self.ids and self.encoding not in ("auto", "ids", "colors"):
            raise UsageError(f"ids are given but the mask encoding is {self.encoding}; leave one of them out")


def parse_ids(text: str) -> tuple[int | str, ...]:
    """`--ids` as written on the command line: "1,3" or "#ff0000,#00ff00". Raises UsageError for anything else."""
    labels: list[int | str] = []
    for part in (part.strip() for part in text.split(",")):
        if re.fullmatch(r"\d{1,5}", part):
            labels.append(int(part))
        elif re.fullmatch(r"#[0-9a-fA-F]{6}", part):
            labels.append(part.lower())
        else:
            raise UsageError(f"--ids {text!r} holds {part!r}, expected numbers like 1,3 or colours like #ff0000")
    return tuple(labels)


def parse_color(label: int | str) -> int:
    """A colour "#rrggbb" as 0xRRGGBB. Raises UsageError when it is not one."""
    if not isinstance(label, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", label):
        raise UsageError(f"colour {label!r} is not of the form #rrggbb; write e.g. #ff0000")
    return int(label[1:], 16)


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
