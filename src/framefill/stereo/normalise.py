"""Normalisers: raw depth of any range to 0..1, 1 = near, frame by frame or steadily over a shot.

The range is that of a frame's smallest and largest value, as the nets of this kind were trained with.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError

Depth = NDArray[np.float32]  # H W or T H W

FLAT = 0.5  # what a frame without any range becomes: the screen's own depth at the usual convergence
LEAST = 1e-6  # of a range, as a share of the larger of its ends


class Normaliser(Protocol):
    """A whole shot at once by calling it, or frame by frame: `push` each, `flush` at the shot's end."""

    def __call__(self, raw: Depth) -> Depth:
        """Normalise one whole shot T h w; what is being pushed is not touched."""
        ...

    def push(self, raw: Depth) -> list[Depth]:
        """Take the next frames, T h w or one h w; give those that are finished, in order, each h w."""
        ...

    def flush(self) -> list[Depth]:
        """Give the frames that are still waiting, in order, and begin anew: at a cut, and at the end."""
        ...

    def reset(self) -> None:
        """Begin anew and drop the frames that are still waiting."""
        ...


class PerFrame:
    """Each frame's own range becomes 0..1; no frame waits for another."""

    def __call__(self, raw: Depth) -> Depth:
        """Normalise T h w."""
        return np.stack(self.push(raw))

    def push(self, raw: Depth) -> list[Depth]:
        """Give the same frames back, normalised."""
        return [_scaled(frame, *_range(frame)) for frame in _frames(raw)]

    def flush(self) -> list[Depth]:
        """Nothing waits."""
        return []

    def reset(self) -> None:
        """Nothing is kept."""


class Ema:
    """A range that moves slowly: of the smallest and largest value within the next `buffer` frames, averaged with what it was before.

    decay: share of the old range in the new one, 0 <= decay < 1. buffer: frames looked at, the frame itself among them, >= 1; frames come
    out `buffer` - 1 frames late. `decay` 0 with `buffer` 1 is `PerFrame`. What lies beyond the range is clipped. Raises UsageError.
    """

    def __init__(self, decay: float = 0.75, buffer: int = 30) -> None:
        if not 0 <= decay < 1:
            raise UsageError(f"a decay of {decay} was asked for the depth's range; expected 0 or more and less than 1")
        if buffer < 1:
            raise UsageError(f"a look-ahead of {buffer} frames was asked for the depth's range; expected 1 or more")
        self.decay, self.buffer = decay, buffer
        self._waiting: deque[Depth] = deque()
        self._ranges: deque[tuple[float, float]] = deque()
        self._range: tuple[float, float] | None = None

    def __call__(self, raw: Depth) -> Depth:
        """Normalise one whole shot T h w."""
        alone = Ema(self.decay, self.buffer)
        return np.stack([*alone.push(raw), *alone.flush()])

    def push(self, raw: Depth) -> list[Depth]:
        """Take T h w or h w; give what now has its look-ahead behind it."""
        finished = []
        for frame in _frames(raw):
            self._waiting.append(frame)
            self._ranges.append(_range(frame))
            if len(self._waiting) == self.buffer:
                finished.append(self._next())
        return finished

    def flush(self) -> list[Depth]:
        """Give the rest: its look-ahead ends with the shot."""
        rest = [self._next() for _ in range(len(self._waiting))]
        self.reset()
        return rest

    def reset(self) -> None:
        """Drop what waits and forget the range."""
        self._waiting.clear()
        self._ranges.clear()
        self._range = None

    def _next(self) -> Depth:
        low, high = min(low for low, _ in self._ranges), max(high for _, high in self._ranges)
        if self._range is not None:
            low, high = (self.decay * old + (1 - self.decay) * new for old, new in zip(self._range, (low, high), strict=True))
        self._range = low, high
        self._ranges.popleft()
        return _scaled(self._waiting.popleft(), low, high)


class AsItIs:
    """Depth that is 0..1 already stays as it is, for what was normalised before it was exported; what lies beyond is clipped."""

    def __call__(self, raw: Depth) -> Depth:
        """Clip T h w."""
        return np.stack(self.push(raw))

    def push(self, raw: Depth) -> list[Depth]:
        """Give the same frames back."""
        return [np.clip(frame, 0, 1) for frame in _frames(raw)]

    def flush(self) -> list[Depth]:
        """Nothing waits."""
        return []

    def reset(self) -> None:
        """Nothing is kept."""


def _frames(raw: Depth) -> Depth:
    """Raw depth as T h w float32. Raises UsageError for another shape, and for values that are no numbers."""
    frames = np.asarray(raw, np.float32)
    if frames.ndim == 2:
        frames = frames[None]
    if frames.ndim != 3 or frames.size == 0:
        raise UsageError(f"raw depth is {raw.shape}, expected T h w with at least one frame and one pixel")
    if not np.isfinite(frames).all():
        raise UsageError("the depth provider gave values that are not finite numbers; try another provider, or its network in fp32")
    return frames


def _range(frame: Depth) -> tuple[float, float]:
    return float(frame.min()), float(frame.max())


def _scaled(frame: Depth, low: float, high: float) -> Depth:
    if high - low <= LEAST * max(abs(low), abs(high)):
        return np.full_like(frame, FLAT)
    return np.asarray(np.clip((frame - np.float32(low)) * np.float32(1 / (high - low)), 0, 1), np.float32)
