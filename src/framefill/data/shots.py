"""Shots of a clip by a histogram test, and what a shot is like: how much moves in it and when, and four perceptual hashes.

A cut is a step between two frames that stands out of the steps around it, changes colours or structure, and is not taken back within
three frames (a flash). Slow dissolves are not found: for those there is `training.cuts`. All of it works on pictures of 64x48.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]
Span = tuple[int, int]  # frames from the first to before the second

# Chosen on the packaged samples, joined, and on the clips and flashes of tests/test_data_shots.py; levels of 0-255 at 64x48.
STANDS_OUT, LEAST_STEP = 3.0, 4.0  # a cut's step is this many times the median of those around it, and this much more
AROUND = 6
COLOURS, STRUCTURE = 0.75, 0.5  # correlations with the frame before, below which colours or structure have changed
TAKEN_BACK = 0.5  # share of the step that is left three frames later, below which it was a flash
HASHED_AT = (1 / 8, 3 / 8, 5 / 8, 7 / 8)  # of a shot's length
PROFILE = 32  # stretches of a shot whose motion is kept, a byte each
# Copies of seven clips at another size and quality: up to 5 bits apart, motions correlated by 0.85 up where they vary. 18 clips of one
# signer before one wall: 0.5 bits up, 0.63 at most among those near.
NEAR = 6.0  # bits of 64, on average over the four hashes
SAME_LENGTH = 0.02  # as a share of the length
SAME_MOTION = 0.75  # correlation
UNVARIED = 0.3  # deviation of the motion as a share of its mean, below which it tells nothing


@dataclass(frozen=True)
class Steps:
    """What changes from frame to frame; arrays T, entry t compares frame t with frame t - 1 (entry 0 with itself).

    step: mean difference, levels. colours, structure: correlations. back: the least of the differences to the frames 2 and 3 before.
    ahead: the same of the frame t - 1 with the frames 2 and 3 after it. hashes: uint64, the frame's own.
    """

    step: Floats
    colours: Floats
    structure: Floats
    back: Floats
    ahead: Floats
    hashes: NDArray[np.uint64]


@dataclass(frozen=True)
class Shot:
    """Frames `start .. end` (end excluded); `motion` is the mean difference of neighbours in levels, `likeness` 128 hex digits."""

    start: int
    end: int
    motion: float
    likeness: str


class ShotFinder(Protocol):
    """What finds shots in another way than by `Steps`: is shown every frame of a source in order, then asked."""

    def show(self, frame: Picture) -> None:
        """Take the next frame, uint8 48 64 3."""
        ...

    def shots(self) -> list[Span]:
        """Return the shots of what was shown, in order."""
        ...


def measure(frames: Iterable[Picture]) -> Steps:
    """Compare small frames (uint8 48 64 3) with their neighbours in one pass, holding four of them."""
    step, colours, structure, hashes = [0.0], [1.0], [1.0], []
    second, third = [np.inf], [np.inf]  # differences to the frames 2 and 3 before
    greys: deque[Picture] = deque(maxlen=3)
    before: NDArray[np.float32] | None = None
    for frame in frames:
        grey, colour = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8), _histogram(frame)
        hashes.append(difference_hash(grey))
        if before is not None:
            step.append(_difference(grey, greys[-1]))
            colours.append(float(cv2.compareHist(before, colour, cv2.HISTCMP_CORREL)))
            structure.append(_correlation(grey, greys[-1]))
            second.append(_difference(grey, greys[-2]) if len(greys) > 1 else np.inf)
            third.append(_difference(grey, greys[-3]) if len(greys) > 2 else np.inf)
        greys.append(grey)
        before = colour
    count = len(hashes)
    two, three = np.array(second[:count]), np.array(third[:count])
    ahead = np.minimum(np.append(two[1:], np.inf)[:count], np.append(three[2:], (np.inf, np.inf))[:count])
    return Steps(
        step=np.array(step[:count]),
        colours=np.array(colours[:count]),
        structure=np.array(structure[:count]),
        back=np.minimum(two, three),
        ahead=ahead,
        hashes=np.array(hashes, np.uint64),
    )


def find_cuts(steps: Steps) -> list[int]:
    """Number the frames that begin a new shot, rising; the first frame of the clip is not among them."""
    cuts = []
    for t in np.flatnonzero(steps.step > LEAST_STEP):
        around = np.concatenate([steps.step[max(1, t - AROUND) : t], steps.step[t + 1 : t + 1 + AROUND]])
        usual = float(np.median(around)) if len(around) else 0.0
        stands_out = steps.step[t] > STANDS_OUT * usual + LEAST_STEP
        changed = steps.colours[t] < COLOURS or steps.structure[t] < STRUCTURE
        flash = min(steps.back[t], steps.ahead[t]) < TAKEN_BACK * steps.step[t]
        if stands_out and changed and not flash:
            cuts.append(int(t))
    return cuts


def spans_of(steps: Steps, cuts: Sequence[int] = ()) -> list[Span]:
    """Return the shots between cuts: with none, the whole clip."""
    return list(pairwise([0, *cuts, len(steps.step)]))


def shots_of(steps: Steps, spans: Sequence[Span]) -> list[Shot]:
    """Say what the shots are like."""
    return [_describe(steps, start, end) for start, end in spans]


def difference_hash(grey: Picture) -> int:
    """64 bits that tell where a grey picture gets brighter to the right, on a grid of 8x9: nearly the same for nearly the same picture."""
    tiny = np.asarray(cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA), np.int16)
    return int.from_bytes(np.packbits(tiny[:, 1:] > tiny[:, :-1]).tobytes(), "big")


class Likeness:
    """What clips look like, for finding copies among them: their four hashes, the course of their motion, and their length."""

    def __init__(self, likeness: Sequence[str], seconds: Sequence[float]) -> None:
        """Take `likeness` as in `Shot` of N clips, and their lengths."""
        raw = np.array([np.frombuffer(bytes.fromhex(each), np.uint8) for each in likeness]).reshape(
            len(likeness), 8 * len(HASHED_AT) + PROFILE
        )
        self._hashes = np.ascontiguousarray(raw[:, :-PROFILE]).view(">u8")  # n 4
        course = raw[:, -PROFILE:].astype(np.float64)
        mean, deviation = course.mean(axis=1), course.std(axis=1)
        self._varied = deviation > UNVARIED * mean
        self._course = (course - mean[:, None]) / (np.maximum(deviation, 1e-9) * np.sqrt(PROFILE))[:, None]
        self._seconds = np.array(seconds)

    def copies(self, index: int, among: NDArray[np.intp], near: float = NEAR) -> NDArray[np.intp]:
        """Return those `among` the clips that show the same as clip `index`.

        They are as long, and either at most `near` bits of 64 apart and move alike, or, where motion tells nothing, at most half of that.
        """
        bits = np.bitwise_count(self._hashes[among] ^ self._hashes[index]).mean(axis=1)
        telling = self._varied[among] & self._varied[index]
        together = self._course[among] @ self._course[index] > SAME_MOTION
        alike = np.where(telling, (bits <= near) & together, bits <= near / 2)
        alike &= np.abs(self._seconds[among] / self._seconds[index] - 1) < SAME_LENGTH
        return among[alike]


def _describe(steps: Steps, start: int, end: int) -> Shot:
    inside = steps.step[start + 1 : end]
    motion = float(inside.mean()) if len(inside) else 0.0
    hashes = "".join(f"{int(steps.hashes[start + int((end - start) * share)]):016x}" for share in HASHED_AT) if end > start else ""
    return Shot(start, end, round(motion, 4), hashes + _course(inside) if hashes else "")


def _course(steps: Floats) -> str:
    """The motion in `PROFILE` stretches of a shot as a share of the largest, two hex digits each."""
    if not steps.any():
        return "00" * PROFILE
    total = np.concatenate([[0.0], np.cumsum(steps)])
    stretches = np.diff(np.interp(np.linspace(0, len(steps), PROFILE + 1), np.arange(len(total)), total))
    return np.rint(255 * stretches / stretches.max()).astype(np.uint8).tobytes().hex()


def _difference(first: Picture, second: Picture) -> float:
    return float(cv2.norm(first, second, cv2.NORM_L1)) / first.size


def _correlation(first: Picture, second: Picture) -> float:
    one, other = (picture.astype(np.float32) - picture.mean(dtype=np.float32) for picture in (first, second))
    scale = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / scale if scale > 0 else 1.0


def _histogram(rgb: Picture) -> NDArray[np.float32]:
    counts = np.asarray(cv2.calcHist([rgb], [0, 1, 2], None, [8, 8, 8], [0, 256, 0, 256, 0, 256]), np.float32)
    return np.asarray(cv2.GaussianBlur(counts.reshape(64, 8), (0, 0), 1.0), np.float32)
