"""What a protocol is: which part of which clip is hidden, what is measured, and how the mean is taken, by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.media.video import Frames

Value = int | float | str
Settings = Mapping[str, Value]


@dataclass(frozen=True)
class Option:
    """One setting of a protocol: its default, what it does, and the words it takes where they are fixed."""

    default: Value
    about: str
    choices: tuple[str, ...] = ()

    def parse(self, name: str, text: str) -> Value:
        """Read a value of the default's kind; raises UsageError."""
        if self.choices and text not in self.choices:
            raise UsageError(f"--set {name}={text}: give one of {', '.join(self.choices)}")
        if isinstance(self.default, str):
            return text
        try:
            value = type(self.default)(text)
        except ValueError:
            raise UsageError(f"--set {name}={text}: expected a number such as {self.default}") from None
        if not value > 0:
            raise UsageError(f"--set {name}={text}: expected a number above 0, such as {self.default}")
        return value


@dataclass(frozen=True)
class Case:
    """One clip to be filled and scored.

    `given` uint8 T H W 3 is what a model gets (what lies under the mask is blanked before it looks), `mask` bool T H W is True where
    it is to be made. `truth` uint8 T H W 3 is what the result is compared with, None where nobody knows it. `source` uint8 T H W 3
    is the clip whose motion the result is to follow, where that is not the truth (an edit's source clip).
    """

    name: str
    case: str | None
    given: Frames
    mask: NDArray[np.bool_]
    truth: Frames | None
    source: Frames | None = None

    @property
    def reference(self) -> Frames:
        """The clip whose motion counts: the source, else the truth, else what was given."""
        if self.source is not None:
            return self.source
        return self.given if self.truth is None else self.truth


@dataclass(frozen=True)
class CaseSource:
    """A case that has not been read yet: `files` are what it is read from, `load` reads it (a function that pickles)."""

    name: str
    case: str | None
    files: tuple[Path, ...]
    load: Callable[[], Case]


@dataclass(frozen=True)
class Found:
    """The cases of a folder, in order, and one line for each thing that was left out or assumed."""

    cases: Sequence[CaseSource]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Described:
    """What every protocol tells of itself: `define` says in lines what is done under given settings, `layout` what folders it wants."""

    name: str
    about: str
    layout: str
    options: Mapping[str, Option]
    define: Callable[[Settings], list[str]]

    def settle(self, given: Mapping[str, str]) -> Settings:
        """Return all settings, those of `given` in place of defaults; raises UsageError for an unknown name or a wrong value."""
        for name in given:
            if name not in self.options:
                near = difflib.get_close_matches(name, self.options, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.options) or 'none'}"
                raise UsageError(f"{self.name} has no setting {name!r}; {hint}")
        return {name: option.parse(name, given[name]) if name in given else option.default for name, option in self.options.items()}


@dataclass(frozen=True)
class Protocol(Described):
    """Clips with a part hidden, filled by models and scored one by one.

    `find` lists the cases of a folder for settings and a seed. `metrics` are keys of the table of metrics.
    `mean` says whether a mean goes over all frames of all clips or over the clips' own means. `composite`: results of
    other programs get the known pixels back before they are measured. `models` are run when nobody names others.
    """

    find: Callable[[Path, Settings, int], Found]
    metrics: tuple[str, ...]
    models: tuple[str, ...] = ()
    mean: Literal["frames", "clips"] = "clips"
    composite: bool = True


@dataclass(frozen=True)
class SetProtocol(Described):
    """A set of generated clips held against a set of real ones; no pair of clips belongs together. `metrics` are of sets."""

    metrics: tuple[str, ...]


def parse_size(text: Value) -> tuple[int, int] | None:
    """Read "432x240" as (width, height); "source" is None: as the clip is. Raises UsageError."""
    if text == "source":
        return None
    width, cross, height = str(text).partition("x")
    if not (cross and width.isdigit() and height.isdigit() and int(width) > 0 and int(height) > 0):
        raise UsageError(f"size {text!r}: expected WIDTHxHEIGHT such as 432x240, or source")
    return int(width), int(height)
