"""Cutting a clip of any length into windows, and a frame into tiles, and putting what was made back together.

Three modes, all planned as a stream, one frame ahead and without knowing the clip's length:

- blend: windows of `length` frames overlap by `overlap`; all are made and cross-faded by a linear ramp whose weights sum to 1;
- chain: each window takes the last `overlap` (or more) frames that the window before made as known, and hands out only new ones;
- context: each window reads `overlap` frames on either side of the `length` frames that it makes and hands out.

In blend and chain the last window of a clip is moved back so that it is as long as the others: networks of a fixed length see full
windows only, and a clip shorter than one window is one window of its own length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError

Mode = Literal["blend", "chain", "context"]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Window:
    """Frames `start` to before `stop` are read; of them `keep_start` to before `keep_stop` are handed out.

    known_stop: frames from `start` to before it have been made already and are known to this window (chain); else `start`.
    fade_in, fade_out: the first and last kept frames that are cross-faded with the window before and after (blend); else 0.
    """

    start: int
    stop: int
    keep_start: int
    keep_stop: int
    known_stop: int
    fade_in: int = 0
    fade_out: int = 0

    def __len__(self) -> int:
        return self.stop - self.start

    def weights(self) -> NDArray[np.float64]:
        """The share of this window in each frame from `keep_start` to `keep_stop`; over all windows they sum to 1 in every frame."""
        weights = np.ones(self.keep_stop - self.keep_start)
        if self.fade_in:
            weights[: self.fade_in] = _ramp(self.fade_in)
        if self.fade_out:
            weights[len(weights) - self.fade_out :] = 1 - _ramp(self.fade_out)
        return weights

    @property
    def kept(self) -> slice:
        """The frames handed out, counted from this window's own first frame."""
        return slice(self.keep_start - self.start, self.keep_stop - self.start)


@dataclass(frozen=True)
class Plan:
    """How a clip is cut: windows of `length` >= 1 frames that share `overlap` >= 0 with (context: read as many of) their neighbours.

    Raises UsageError when the numbers cannot be: blend needs overlap <= length / 2, so that no frame lies in three windows, chain
    needs overlap < length.
    """

    mode: Mode
    length: int
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.mode not in ("blend", "chain", "context"):
            raise UsageError(f"window mode is {self.mode!r}, expected blend, chain or context")
        if self.length < 1 or self.overlap < 0:
            raise UsageError(f"window is {self.length} frames with overlap {self.overlap}, expected length >= 1 and overlap >= 0")
        if self.mode == "blend" and 2 * self.overlap > self.length:
            raise UsageError(f"overlap {self.overlap} is more than half of the window's {self.length} frames; blend needs at most half")
        if self.mode == "chain" and self.overlap >= self.length:
            raise UsageError(f"overlap {self.overlap} leaves nothing to make in a window of {self.length} frames; chain needs less")

    def windows(self, num_frames: int) -> Iterator[Window]:
        """The windows of a clip of known length, in order; none for an empty clip."""
        window: Window | None = None
        while (window := self.next_window(window, num_frames, ended=True)) is not None:
            yield window

    def next_window(self, previous: Window | None, available: int, ended: bool) -> Window | None:
        """The window after `previous` (None: the first), once `available` frames have arrived; None when it must wait or there is no more.

        ended: whether these are all the frames there are. The answer for a frame never changes as more frames arrive.
        """
        done = 0 if previous is None else previous.keep_stop
        if ended and done >= available:
            return None
        return self._centre(done, available, ended) if self.mode == "context" else self._step(previous, available, ended)

    def _centre(self, done: int, available: int, ended: bool) -> Window | None:
        stop = done + self.length
        if not ended and available < stop + self.overlap:
            return None
        keep_stop = min(stop, available)
        start = max(0, done - self.overlap)
        return Window(start, min(keep_stop + self.overlap, available), done, keep_stop, start)

    def _step(self, previous: Window | None, available: int, ended: bool) -> Window | None:
        start = 0 if previous is None else previous.stop - self.overlap
        made = 0 if previous is None else previous.stop
        stop = start + self.length
        if not ended and available <= stop:  # one more frame tells whether this window is the last
            return None
        last = available <= stop
        if last:
            stop = available
            start = max(0, stop - self.length)
        if self.mode == "chain":
            return Window(start, stop, made, stop, made)
        fade_in = 0 if previous is None else self.overlap
        return Window(start, stop, made - fade_in, stop, start, fade_in, 0 if last else self.overlap)


def windowed(plan: Plan, items: Iterable[Item]) -> Iterator[tuple[Window, list[Item]]]:
    """Cut a stream of frames (or masks, or pairs of both) into windows; no more than one window and its surroundings are held at once."""
    buffer: list[Item] = []
    first = 0  # number of buffer[0]
    window: Window | None = None
    source = iter(items)
    ended = False
    while not ended:
        item = next(source, _END)
        if isinstance(item, _End):
            ended = True
        else:
            buffer.append(item)
        available = first + len(buffer)
        while (found := plan.next_window(window, available, ended)) is not None:
            window = found
            yield window, buffer[window.start - first : window.stop - first]
            oldest = max(first, _oldest_needed(plan, window))
            del buffer[: oldest - first]
            first = oldest


def assemble(made: Iterable[tuple[Window, NDArray[np.generic]]]) -> Iterator[NDArray[np.generic]]:
    """Put made windows together into a stream of frames, in order, each once; at most the faded frames of one window are held.

    made: windows with their arrays T ... of `len(window)` frames, uint8 or float. Frames of one window pass as they are; cross-faded
    ones are weighted sums in float32, rounded for uint8. Raises UsageError when an array has not its window's length.
    """
    held: list[NDArray[np.float32]] = []  # weighted sums that wait for the next window
    for window, frames in made:
        if len(frames) != len(window):
            raise UsageError(f"window {window.start}-{window.stop} was made with {len(frames)} frames, expected {len(window)}")
        weights = window.weights()
        kept = frames[window.kept]
        waiting: list[NDArray[np.float32]] = []
        for number, frame in enumerate(kept):
            if weights[number] == 1:
                yield frame
                continue
            part = np.multiply(frame, weights[number], dtype=np.float32)
            if number < window.fade_in:
                yield _rounded(held[number] + part, frames.dtype)
            else:
                waiting.append(part)
        held = waiting


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of a frame as two `Window`s, one over its rows and one over its columns."""

    rows: Window
    columns: Window

    @property
    def read(self) -> tuple[slice, slice]:
        """Rows and columns of the frame that the tile reads."""
        return slice(self.rows.start, self.rows.stop), slice(self.columns.start, self.columns.stop)

    def weights(self) -> NDArray[np.float32]:
        """The share of this tile in each pixel that it reads, float32 H W (0 where it hands nothing out); over all tiles they sum to 1."""
        weights = np.zeros((len(self.rows), len(self.columns)), np.float32)
        weights[self.rows.kept, self.columns.kept] = np.outer(self.rows.weights(), self.columns.weights())
        return weights


def tiles(height: int, width: int, size: int, overlap: int) -> list[Tile]:
    """Cut a frame of `height` x `width` pixels into square tiles of `size`, row by row, that overlap by `overlap` pixels and blend.

    A frame smaller than a tile gives a tile of its own size. Raises UsageError as `Plan` does.
    """
    plan = Plan("blend", size, overlap)
    columns = list(plan.windows(width))
    return [Tile(rows, cols) for rows in plan.windows(height) for cols in columns]


def assemble_tiles(made: Sequence[tuple[Tile, NDArray[np.generic]]], height: int, width: int) -> NDArray[np.generic]:
    """Put made tiles (H W or H W C, uint8 or float, each of the size that its tile reads) together into one frame, cross-faded."""
    first = made[0][1]
    total = np.zeros((height, width, *first.shape[2:]), np.float32)
    for tile, pixels in made:
        if pixels.shape[:2] != (len(tile.rows), len(tile.columns)):
            raise UsageError(f"tile was made {pixels.shape[1]}x{pixels.shape[0]}, expected {len(tile.columns)}x{len(tile.rows)}")
        weights = tile.weights()
        total[tile.read] += np.multiply(pixels, weights[..., None] if pixels.ndim == 3 else weights, dtype=np.float32)
    return _rounded(total, first.dtype)


@dataclass(frozen=True, slots=True)
class Padding:
    """Pixels added to a frame on each side."""

    top: int
    bottom: int
    left: int
    right: int


def pad_to_multiple(frames: NDArray[np.generic], multiple: int) -> tuple[NDArray[np.generic], Padding]:
    """Frames T H W or T H W C, mirrored outwards on all sides until height and width are multiples of `multiple` (8, 64, ...).

    The added pixels are split evenly, the odd one at the bottom or right. Raises UsageError for a multiple below 1.
    """
    if multiple < 1:
        raise UsageError(f"multiple is {multiple}, expected 1 or more")
    height, width = frames.shape[1:3]
    rows, columns = -height % multiple, -width % multiple
    padding = Padding(rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)
    sides = [(0, 0), (padding.top, padding.bottom), (padding.left, padding.right)] + [(0, 0)] * (frames.ndim - 3)
    return np.pad(frames, sides, mode="symmetric"), padding


def unpad(frames: NDArray[np.generic], padding: Padding) -> NDArray[np.generic]:
    """Take off again what `pad_to_multiple` added."""
    height, width = frames.shape[1:3]
    return frames[:, padding.top : height - padding.bottom, padding.left : width - padding.right]


class _End:
    """Marks the end of a stream, whose items may be None."""


_END = _End()


def _ramp(length: int) -> NDArray[np.float64]:
    return np.arange(1, length + 1) / (length + 1)


def _oldest_needed(plan: Plan, window: Window) -> int:
    """The first frame that a later window can still read."""
    if plan.mode == "context":
        return max(0, window.keep_stop - plan.overlap)
    # A last window is moved back to full length; it adds at least one frame, so it starts after stop - length.
    return max(0, window.stop + 1 - plan.length)


def _rounded(values: NDArray[np.float32], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    if dtype.kind in "ui":
        return np.rint(values).astype(dtype)
    return values.astype(dtype)
