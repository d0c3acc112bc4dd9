"""What a run is asked to do: one frozen value, checked where it is made, and the spelling of its parts on the command line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

from framefill.errors import UsageError
from framefill.families.trained import Sampling
from framefill.jobs.geometry import Pad, Region
from framefill.jobs.record import JsonValue
from framefill.media.codecs import SLASHES
from framefill.media.mask_boxes import parse_box
from framefill.media.mask_rule import MaskRule

T = TypeVar("T")


class AsPath:
    """A field of a dataclass that takes a path as text too and gives it back as a Path."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object | None, owner: type) -> Path:
        if instance is None:
            raise AttributeError(self._name)  # what tells `dataclass` that the field has no default
        path: Path = vars(instance)[self._name]
        return path

    def __set__(self, instance: object, value: str | Path) -> None:
        vars(instance)[self._name] = Path(value)
        vars(instance)[f"{self._name} as given"] = str(value)


class AsPathOrNone:
    """The same for a field that may be None, and is by default."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object | None, owner: type) -> Path | None:
        path: Path | None = None if instance is None else vars(instance)[self._name]
        return path

    def __set__(self, instance: object, value: str | Path | None) -> None:
        vars(instance)[self._name] = None if value is None else Path(value)


@dataclass(frozen=True)
class FillSettings:
    """One clip to fill. Times in seconds from the clip's start, sizes in pixels of the decoded picture, `memory` in bytes.

    `fps` is for frames without times of their own (folders, patterns). `mask` is a file, folder or pattern; `boxes` are rectangles
    "x,y,w,h" or "x,y,w,h@start-end"; both together are joined. `pad` or `aspect` widen the picture in place of a mask. Only frames
    with `start` <= time < `end` and pixels inside `roi` are filled; what the mask marks elsewhere is kept, but nothing is learnt
    from it. `preview` gives that many frames from `start` on, at half size. `as_frames` makes `output` a folder of PNG frames whatever
    its name; so does a slash at the end of its text. `report` is only kept free here: the program that prints draws it.
    `sampling` is how a trained `model` is run; a family without a net refuses it, since an option that does nothing misleads.
    Raises UsageError for what cannot be meant.
    """

    input: str | Path
    output: AsPath = AsPath()
    fps: Fraction | None = None
    mask: str | Path | None = None
    boxes: tuple[str, ...] = ()
    rule: MaskRule = field(default_factory=MaskRule)
    pad: Pad | None = None
    aspect: Fraction | None = None
    model: str = "auto"
    sampling: Sampling | None = None
    start: float = 0.0
    end: float = math.inf
    roi: Region | None = None
    preview: int | None = None
    as_frames: bool = False
    codec: str = "auto"
    crf: int | None = None
    lossless: bool = False
    memory: int | None = None
    provenance: AsPathOrNone = AsPathOrNone()
    report: AsPathOrNone = AsPathOrNone()
    overwrite: bool = False
    keep_job: bool = False

    def __post_init__(self) -> None:
        if vars(self).pop("output as given").endswith(SLASHES):  # a Path has forgotten it
            vars(self)["as_frames"] = True
        masked, widened = self.mask is not None or bool(self.boxes), self.pad is not None or self.aspect is not None
        if not masked and not widened:
            raise UsageError("nothing says what to fill; give a mask (-m MASK) or a box (--box x,y,w,h), or --pad or --aspect to outpaint")
        if self.mask is not None and not str(self.mask):
            raise UsageError("the mask's name is empty; give a file or a folder")
        if (masked and widened) or (self.pad is not None and self.aspect is not None):
            raise UsageError("a mask, a pad and an aspect exclude each other; give one of them")
        if widened and (self.roi is not None or self.preview is not None):
            raise UsageError("--roi and --preview go with a mask, not with a wider picture; leave them out")
        for box in self.boxes:
            parse_box(box)
        if not 0 <= self.start < math.inf:
            raise UsageError(f"--start is {self.start:g} s, expected 0 or more")
        if not self.end > self.start:
            raise UsageError(f"--end {self.end:g} s is not after --start {self.start:g} s")
        if self.preview is not None and self.preview < 1:
            raise UsageError(f"--preview is {self.preview}, expected a number of frames from 1 on")

    @property
    def destination(self) -> str:
        """The output as the writer takes it, a folder of frames with its slash."""
        return f"{self.output}/" if self.as_frames else str(self.output)

    @property
    def asked_encoding(self) -> bool:
        """Whether the output must be encoded even when nothing is filled."""
        return self.as_frames or self.codec != "auto" or self.crf is not None or self.lossless or self.preview is not None

    def filling(self) -> dict[str, JsonValue]:
        """The part that decides the made pixels: what a job must share with an earlier one to go on with its windows."""
        rule = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self.rule).items()}
        return {
            "fps": None if self.fps is None else str(self.fps),
            "boxes": list(self.boxes),
            "rule": rule,
            "pad": None if self.pad is None else list(asdict(self.pad).values()),
            "aspect": None if self.aspect is None else str(self.aspect),
            "model": self.model,
            "sampling": None if self.sampling is None else {**self.sampling.as_dict()},
            "start": self.start,
            "end": None if math.isinf(self.end) else self.end,
            "roi": None if self.roi is None else list(asdict(self.roi).values()),
            "preview": self.preview,
        }

    def as_dict(self) -> dict[str, JsonValue]:
        """Everything that was asked for, for the record."""
        mask = None if self.mask is None else str(self.mask)
        encoding: dict[str, JsonValue] = {"codec": self.codec, "crf": self.crf, "lossless": self.lossless, "memory": self.memory}
        return {"input": str(self.input), "output": str(self.output), "mask": mask, **self.filling(), **encoding}


def optional(parse: Callable[[str], T], text: str | None) -> T | None:
    """Parse an option when it was given."""
    return None if text is None else parse(text)


def parse_fps(text: str) -> Fraction:
    """`--fps` as written on the command line: "25", "29.97" or "30000/1001"."""
    match = re.fullmatch(r"\d+(?:\.\d+)?|\d+/[1-9]\d*", text.strip())
    if match and 0 < Fraction(match[0]) <= 1000:
        return Fraction(match[0])
    raise UsageError(f"--fps is {text!r}, expected frames per second such as 25 or 30000/1001, up to 1000")


def parse_pad(text: str) -> Pad:
    """`--pad l,t,r,b` as written on the command line."""
    return Pad(*_integers("--pad", "l,t,r,b", text))


def parse_roi(text: str) -> Region:
    """`--roi x,y,w,h` as written on the command line."""
    return Region(*_integers("--roi", "x,y,w,h", text))


def parse_aspect(text: str) -> Fraction:
    """`--aspect` as written on the command line: "16:9", "2.39" or "4/3", from 1:20 to 20:1."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:[:/](\d+(?:\.\d+)?))?", text.strip())
    if match and Fraction(match[2] or 1):
        aspect = Fraction(match[1]) / Fraction(match[2] or 1)
        if Fraction(1, 20) <= aspect <= 20:
            return aspect
    raise UsageError(f"--aspect is {text!r}, expected width:height such as 16:9 or a ratio such as 2.39")


def parse_size(text: str) -> tuple[int, int]:
    """`--size` as written on the command line, "640x360": width and height."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.strip())
    if match:
        return int(match[1]), int(match[2])
    raise UsageError(f"--size is {text!r}, expected width x height in pixels such as 640x360")


def parse_memory(text: str) -> int:
    """`--memory` as written on the command line, "6GB", "800MB" or "1.5GiB", in bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MG])(i?)B", text.strip(), re.IGNORECASE)
    if not match:
        raise UsageError(f"--memory is {text!r}, expected a size such as 6GB or 800MB")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** (2 if match[2] in "mM" else 3))


def _integers(option: str, form: str, text: str) -> tuple[int, int, int, int]:
    match = re.fullmatch(r"\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*", text)
    if not match:
        raise UsageError(f"{option} is {text!r}, expected {form} in whole pixels")
    return int(match[1]), int(match[2]), int(match[3]), int(match[4])
