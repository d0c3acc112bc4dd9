"""A depth network in a file, run by onnxruntime: an ONNX graph with one picture in and one map out.

Such a file does not say what its numbers mean. What goes in may be told (`?input=0..255`); otherwise it is found out on procedural scenes,
whose depth is known: the scale at which the answer goes most with the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import MissingWeights, UsageError, WeightsError
from framefill.media.synthetic import make_scene
from framefill.stereo.depth import Depth, Frames, Reading, check_frames, file_safe

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Colour = tuple[float, float, float]
EVEN = (1.0, 1.0, 1.0)
# What a net may expect, as (level - mean) / deviation for levels of 0..255.
SCALES: dict[str, tuple[Colour, Colour]] = {
    "0..255": ((0.0, 0.0, 0.0), EVEN),
    "0..1": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "-1..1": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
KINDS: dict[str, type[np.float16] | type[np.float32]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
SHORTER, MULTIPLE = 392, 14  # pixels, for a net that takes any size: those of this kind see patches of 14
MULTIPLES = ("1", "8", "14", "16", "32", "64")  # that a side may be asked to be in
TRIALS, TRIAL_SIZE = 4, (192, 320)  # procedural scenes on which a scale is found out, and their height and width


@dataclass(frozen=True)
class _Entry:
    """How the network takes its picture: `size` (height, width) or None for any, colours last or first, and in which numbers."""

    name: str
    size: tuple[int, int] | None
    colours_last: bool
    kind: type[np.float16] | type[np.float32]


class OnnxDepth:
    """The network in `path`. `scale`: a key of `SCALES`, None to find it out. For a net that takes any size,
    `resolution` is the shorter side, and sides are multiples of `multiple`.

    Raises MissingWeights without the file, WeightsError for one that onnxruntime cannot load or that is no depth net, UsageError for a
    resolution that its one size does not allow, ModuleNotFoundError without onnxruntime.
    """

    def __init__(
        self, path: Path, means: Reading, scale: str | None = None, resolution: int | None = None, multiple: int = MULTIPLE
    ) -> None:
        self.name = file_safe(f"onnx-{path.stem}")
        self.is_metric = means.is_metric
        self._path, self._means = path, means
        self._session = _load(path)
        self._entry = _entry(path, self._session)
        if resolution is not None and self._entry.size is not None and resolution != min(self._entry.size):
            height, width = self._entry.size
            raise UsageError(f"{path.name} sees pictures of {width}x{height} and no other; leave out the depth resolution {resolution}")
        self._shorter, self._multiple = resolution or SHORTER, multiple
        self.scale = scale or self._found_out()

    def infer(self, frames: Frames) -> Depth:
        """Give T h w at the network's own size."""
        check_frames(frames)
        return self._means.raw(np.stack([self._ask(frame, self.scale) for frame in frames]))

    def reset(self) -> None:
        """Each frame is asked for by itself."""

    def _ask(self, frame: NDArray[np.uint8], scale: str) -> Depth:
        height, width = self._entry.size or work_size(frame.shape[0], frame.shape[1], self._shorter, self._multiple)
        shrinks = height * width < frame.shape[0] * frame.shape[1]
        small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        mean, deviation = (np.array(each, np.float32) for each in SCALES[scale])
        picture = (small.astype(np.float32) - mean) / deviation
        batch = picture[None] if self._entry.colours_last else picture.transpose(2, 0, 1)[None]
        try:
            answers = self._session.run(None, {self._entry.name: np.ascontiguousarray(batch, self._entry.kind)})
        except Exception as error:  # onnxruntime's errors have no other base
            raise WeightsError(
                f"{self._path} failed on a picture of {width}x{height}: {_first_line(error)}; ?multiple= sets what sides are multiples of"
            ) from error
        for answer in answers:
            seen = _map(answer)
            if seen is not None:
                return seen
        raise WeightsError(f"{self._path} gives no map of h w for one picture; expected a network for depth")

    def _found_out(self) -> str:
        scenes = [make_scene(np.random.default_rng(seed), 1, *TRIAL_SIZE) for seed in range(TRIALS)]

        def truth_told(scale: str) -> float:
            return abs(sum(_correlation(self._ask(scene.frames[0], scale), scene.disparity[0]) for scene in scenes))

        return max(SCALES, key=truth_told)


def work_size(height: int, width: int, shorter: int, multiple: int) -> tuple[int, int]:
    """The size with about that shorter side and the picture's shape, in whole multiples."""
    scale = shorter / min(height, width)
    return max(1, round(height * scale / multiple)) * multiple, max(1, round(width * scale / multiple)) * multiple


def _load(path: Path) -> InferenceSession:
    if not path.is_file():
        raise MissingWeights(f"{path} does not exist; give the .onnx file of a depth network")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it has to say comes as an exception too
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no other base
        raise WeightsError(f"{path} cannot be loaded as an ONNX network: {_first_line(error)}") from error


def _entry(path: Path, session: InferenceSession) -> _Entry:
    """Read how a picture goes in; a dimension that is no number is free."""
    entries = session.get_inputs()
    shape = list(entries[0].shape) if len(entries) == 1 else []
    if len(shape) != 4 or 3 not in (shape[1], shape[3]) or entries[0].type not in KINDS:
        what = ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in entries)
        raise WeightsError(f"{path} takes {what}; expected one picture of floats, 1 3 H W or 1 H W 3")
    last = shape[1] != 3
    height, width = (shape[1], shape[2]) if last else (shape[2], shape[3])
    fixed = isinstance(height, int) and isinstance(width, int)
    return _Entry(entries[0].name, (height, width) if fixed else None, last, KINDS[entries[0].type])


def _map(answer: NDArray[np.floating]) -> Depth | None:
    """An answer 1 1 h w, 1 h w 1, 1 h w or h w as h w; None for one of another shape."""
    while answer.ndim > 2 and answer.shape[0] == 1:
        answer = answer[0]
    if answer.ndim == 3 and answer.shape[2] == 1:
        answer = answer[..., 0]
    return answer.astype(np.float32) if answer.ndim == 2 else None


def _correlation(one: Depth, other: Depth) -> float:
    """How far two maps go together, -1 to 1, at the size of the first; 0 where one of them is even."""
    other = np.asarray(cv2.resize(other, (one.shape[1], one.shape[0]), interpolation=cv2.INTER_AREA), np.float32)
    spread = float(one.std()) * float(other.std())
    return float(np.mean((one - one.mean()) * (other - other.mean()))) / spread if spread > 0 else 0.0


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
