"""What a trained net is to a job beside a filler: it makes whole frames at its own size, from the frames that it is shown.

Nothing here loads torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError, WeightsError
from framefill.families.base import Filler

Frames = NDArray[np.uint8]  # T H W 3
SHIPPED = Path(__file__).resolve().parents[1] / "weights" / "shipped"  # folders of weights that come with the package
DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("auto", "fp32", "bf16", "fp16")
MOST_STEPS = 1000
INDEX = "model_index.json"


@dataclass(frozen=True)
class Sampling:
    """How a trained net is run: the same values give the same video, and on a CPU the same bits.

    seed: all noise follows from it. steps: network evaluations a window, 1 to 1000. device: "auto" takes a GPU where torch sees one.
    dtype: of the weights; "auto" is fp32 on a CPU and bf16 on a GPU. Raises UsageError for anything else.
    """

    seed: int = 0
    steps: int = 20
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}, expected 0 or more")
        if not 1 <= self.steps <= MOST_STEPS:
            raise UsageError(f"--steps is {self.steps}, expected 1 to {MOST_STEPS}; 20 is usual")
        for option, value, choices in (("--device", self.device, DEVICES), ("--dtype", self.dtype, DTYPES)):
            if value not in choices:
                raise UsageError(f"{option} is {value!r}, expected one of {', '.join(choices)}")

    def as_dict(self) -> dict[str, int | str]:
        """The four values by name."""
        return asdict(self)


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
    """The folder of weights that a model's name stands for: shipped ones by their name, others by their folder; None for neither."""
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
