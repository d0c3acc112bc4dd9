"""What one run did, measured: the object behind `--json`, the report page and the tests.

Everything but the key frames' pixels is plain numbers and text. Times and memory belong to the process that ended the job;
all other figures are the same for a run that was killed and gone on with as for one that was not.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"


@dataclass(frozen=True)
class Shares:
    """Parts of the picture area, each in 0..1: known pixels, pixels another frame showed, pixels made up.

    What they lack to 1 is the masked part that was left unfilled.
    """

    known: float
    propagated: float
    generated: float

    def as_dict(self) -> dict[str, JsonValue]:
        """The three shares, rounded to a millionth."""
        return {"known": round(self.known, 6), "propagated": round(self.propagated, 6), "generated": round(self.generated, 6)}


@dataclass(frozen=True)
class FrameRecord:
    """One written frame: `seconds` from the clip's start, its provenance shares, and two scores of `evaluation.seam`.

    `seam` is its `seam_score`; `jump` its `temporal_jump` from the frame before. Each is None where nothing was made or nothing
    can be compared.
    """

    index: int
    seconds: float
    shares: Shares
    seam: float | None
    jump: float | None

    def as_dict(self) -> dict[str, JsonValue]:
        """Flat, for one line of a timeline."""
        scores: dict[str, JsonValue] = {"seam": _rounded(self.seam), "jump": _rounded(self.jump)}
        return {"index": self.index, "seconds": round(self.seconds, 6), **self.shares.as_dict(), **scores}


@dataclass(frozen=True)
class KeyFrame:
    """A frame to look at, scaled so that its longer side is at most `KEY_FRAME_SIDE` pixels.

    `before` and `after` uint8 h w 3 RGB; `mask` bool h w, True = was unknown; `provenance` uint8 h w, 0 known, 1 propagated,
    2 generated.
    """

    index: int
    seconds: float
    before: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    after: NDArray[np.uint8]
    provenance: NDArray[np.uint8]


KEY_FRAME_SIDE = 640
MAX_KEY_FRAMES = 8
# How provenance is drawn, in the map and in the report: blue and orange of Okabe and Ito's palette (2008), which people with each kind
# of colour blindness tell apart.
PROPAGATED_RGB, GENERATED_RGB = (0, 114, 178), (230, 159, 0)


@dataclass(frozen=True)
class RunRecord:
    """One finished run, from its inputs' hashes to the seam score of every frame.

    `size` is (width, height) of the output in pixels, `sample_aspect_ratio` the shape of one of them, width to height. `seconds`
    is the whole command's wall time, `fill_seconds` the part of it inside the filler (summed over all attempts of a resumed job).
    `outside_max_diff` is the largest difference, in 8-bit steps, between the frames handed to the encoder and the decoded input
    outside the mask that was used. `left` is the share of the masked pixels that stayed as they were, 0..1: no frame shows them and
    the family makes nothing up. `window_borders` are the indices of frames that begin a window of the filler (seams in time can only
    lie there). `hashes` are sha256 by input path. `key_frames` holds at most `MAX_KEY_FRAMES` pictures, evenly spread over the frames
    in which something was made.
    """

    output: Path
    input: Path
    mask: str  # the mask sources as given, in words
    mask_lines: tuple[str, ...]  # how the mask was understood, one line each
    frames: int
    frames_filled: int
    size: tuple[int, int]
    sample_aspect_ratio: Fraction
    fps: float | None
    seconds: float
    frames_per_second: float
    fill_seconds: float
    peak_memory_mb: float
    outside_max_diff: int
    provenance: Shares
    left: float
    model: str
    copied: bool  # True: nothing was masked, the streams were copied without re-encoding
    resumed_windows: int  # windows read back from an earlier, interrupted run
    warnings: tuple[str, ...]
    settings: Mapping[str, JsonValue]
    versions: Mapping[str, str]
    hashes: Mapping[str, str]
    timeline: tuple[FrameRecord, ...]
    window_borders: tuple[int, ...]
    key_frames: tuple[KeyFrame, ...]

    def summary(self) -> dict[str, JsonValue]:
        """The object that `--json` prints."""
        return {
            "output": str(self.output),
            "frames": self.frames,
            "size": [self.size[0], self.size[1]],
            "fps": None if self.fps is None else round(self.fps, 6),
            "seconds": round(self.seconds, 3),
            "frames_per_second": round(self.frames_per_second, 2),
            "fill_seconds": round(self.fill_seconds, 3),
            "peak_memory_mb": round(self.peak_memory_mb, 1),
            "outside_max_diff": self.outside_max_diff,
            "provenance": self.provenance.as_dict(),
            "left": round(self.left, 6),
            "model": self.model,
            "warnings": list(self.warnings),
        }

    def as_dict(self) -> dict[str, JsonValue]:
        """Everything but the key frames' pixels, ready for `json.dumps`."""
        return {
            **self.summary(),
            "input": str(self.input),
            "mask": self.mask,
            "mask_lines": list(self.mask_lines),
            "frames_filled": self.frames_filled,
            "sample_aspect_ratio": str(self.sample_aspect_ratio),
            "copied": self.copied,
            "resumed_windows": self.resumed_windows,
            "settings": dict(self.settings),
            "versions": dict(self.versions),
            "hashes": dict(self.hashes),
            "timeline": [frame.as_dict() for frame in self.timeline],
            "window_borders": list(self.window_borders),
            "key_frames": [key.index for key in self.key_frames],
        }


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 4)


def peak_memory_mb() -> float:
    """The largest resident memory of this process so far, in MB of 10^6 bytes (VmHWM on Linux, else getrusage)."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def versions() -> dict[str, str]:
    """The versions of framefill and of the libraries that can change a pixel."""
    from importlib.metadata import version
    from platform import python_version

    import av
    import cv2

    from framefill import __version__

    codec = av.library_versions["libavcodec"]
    return {
        "framefill": __version__,
        "python": python_version(),
        "av": version("av"),
        "libavcodec": ".".join(str(part) for part in codec),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }
