"""What a trained net is to a job beside a filler: it makes whole frames at its own size, from the frames that it is shown.

Nothing here loads torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError, WeightsError
from framefill.families.base import Filler
from framefill.families.fff.source import AFTER_AUTO, is_fff, source_of
from framefill.families.fff.source import INDEX as INDEX  # noqa: PLC0414 - many ask for it here

Frames = NDArray[np.uint8]  # T H W 3
SHIPPED = Path(__file__).resolve().parents[1] / "weights" / "shipped"  # folders of weights that come with the package
DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("auto", "fp32", "bf16", "fp16")
USUAL_STEPS, MOST_STEPS = 20, 1000
FFF_MODES = ("feature", "latent", "off")
LONG_VIDEO = ("blend", "chain", "keyframe")
FLOWS = ("dis", "gmflow", "raft")
MOST_GUIDANCE = 100.0


@dataclass(frozen=True)
class FFFSampling:
    """How an image-to-video net fills (`families.fff`), as far as it is said; None is the model's own.

    mode: of filling the first frame, one of `FFF_MODES`. long_video: how a clip is made that is longer than the net sees, one of
    `LONG_VIDEO`. guidance: from a window's first frame to its last, 0 to 100 each. flow: by what motion is measured, one of `FLOWS`.
    inversion: the noise level, above 0, from which the video is sampled that was brought there backwards; else that is fresh noise.
    Raises UsageError for anything else.
    """

    mode: str | None = None
    long_video: str | None = None
    guidance: tuple[float, float] | None = None
    flow: str | None = None
    inversion: float | None = None

    def __post_init__(self) -> None:
        asked = (("--fff-mode", self.mode, FFF_MODES), ("--long-video", self.long_video, LONG_VIDEO), ("--flow", self.flow, FLOWS))
        for option, value, choices in asked:
            if value is not None and value not in choices:
                raise UsageError(f"{option} is {value!r}, expected one of {', '.join(choices)}")
        if self.guidance is not None and not all(0 <= scale <= MOST_GUIDANCE for scale in self.guidance):
            raise UsageError(f"--guidance is {self.guidance[0]:g},{self.guidance[1]:g}, expected 0 to {MOST_GUIDANCE:g}; 1,3 is usual")
        if self.inversion is not None and not self.inversion > 0:
            raise UsageError(f"--inversion is {self.inversion:g}, expected a noise level above 0, such as 100")


@dataclass(frozen=True)
class Sampling:
    """How a trained net is run: the same values give the same video, and on a CPU the same bits.

    seed: all noise follows from it. steps: of the sampling of a window, 1 to 1000; None for the model's own, 20 for most. device: "auto"
    takes a GPU where torch sees one. dtype: of the weights; "auto" is fp32 on a CPU and bf16 on a GPU. fff: what only an image-to-video
    net takes. Raises UsageError for anything else.
    """

    seed: int = 0
    steps: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    fff: FFFSampling | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}, expected 0 or more")
        if self.steps is not None and not 1 <= self.steps <= MOST_STEPS:
            raise UsageError(f"--steps is {self.steps}, expected 1 to {MOST_STEPS}; {USUAL_STEPS} is usual")
        for option, value, choices in (("--device", self.device, DEVICES), ("--dtype", self.dtype, DTYPES)):
            if value not in choices:
                raise UsageError(f"{option} is {value!r}, expected one of {', '.join(choices)}")

    def as_dict(self) -> dict[str, float | int | str | None]:
        """The values by name."""
        values: dict[str, float | int | str | None] = {"seed": self.seed, "steps": self.steps, "device": self.device, "dtype": self.dtype}
        if self.fff is not None:
            guidance = None if self.fff.guidance is None else "{:g},{:g}".format(*self.fff.guidance)
            values |= {"fff_mode": self.fff.mode, "long_video": self.fff.long_video, "guidance": guidance, "flow": self.fff.flow}
            values["inversion"] = self.fff.inversion
        return values


@runtime_checkable
class Trained(Filler, Protocol):
    """A filler that is a trained net; `tasks` are the names in media.tasks that it learnt, `length` the frames that it sees at once."""

    tasks: tuple[str, ...]
    length: int

    def work_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the net sees a picture of this size."""
        ...

    def make(self, frames: Frames, unknown: NDArray[np.bool_], place: tuple[int, int], told: Callable[[float], None]) -> Frames:
        """Make the frames of a clip of at most `length` frames of the net's size where `unknown` (bool T) is True; the others stay.

        The noise follows from the seed and `place`, the numbers of the clip and of the window in it. `told` is called with the share done.
        """
        ...


def resized(frames: Frames, height: int, width: int) -> Frames:
    """Pictures uint8 T H W 3 at another size: averaged when smaller, cubic when larger."""
    if frames.shape[1:3] == (height, width):
        return frames
    how = cv2.INTER_AREA if height < frames.shape[1] else cv2.INTER_CUBIC
    out = np.empty((len(frames), height, width, 3), np.uint8)
    for frame, place in zip(frames, out, strict=True):
        cv2.resize(frame, (width, height), place, interpolation=how)
    return out


def folder_of(name: str) -> Path | None:
    """The folder of weights that a model's name stands for: shipped ones by their name, others by their folder; None for neither.

    `auto+` may stand before it. Raises MissingWeights and UsageError for "fff:..." and "auto+fff:..." without one.
    """
    if is_fff(name):
        return source_of(name)
    name = name.removeprefix(AFTER_AUTO)
    for folder in (SHIPPED / name, Path(name)):
        if name and (folder / INDEX).is_file():
            return folder
    return None


def class_in(folder: Path) -> str:
    """The class of the pipeline that a folder holds. Raises WeightsError when its model_index.json does not say."""
    try:
        return str(json.loads((folder / INDEX).read_text(encoding="utf-8"))["_class_name"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{folder / INDEX} is damaged or of another version: {error!r}") from error


def enlarging(trained: Trained, height: int, width: int) -> str | None:
    """Say in a line at which size a picture is worked on, where that is not its own."""
    rows, columns = trained.work_size(height, width)
    if (rows, columns) == (height, width):
        return None
    return f"{trained.name} works at {columns}x{rows} pixels: what it makes is enlarged to {width}x{height}"
