"""Run-length masks as the COCO annotations write them (Lin et al. 2014; the format of its `mask` API), decoded from its description.

A run-length mask of size [H, W] counts pixels column by column (top to bottom, then left to right), runs of known and unknown in
turn, starting with known. Two spellings:

- `counts` a list of ints: the runs themselves;
- `counts` a string: each run as a signed number in groups of five bits, least significant group first, as characters from code 48
  on, bit 5 set when another group follows and bit 4 of the last group its sign; from the fourth run on the number is the difference
  to the run two before.

The JSON layout that framefill reads:

    {"size": [H, W], "frames": [{"counts": ...}, null, ...], "fps": 25}

`null` is a frame with nothing to fill; `fps` may be left out, and then the frames are matched one to one. One annotation by
itself, {"size": [H, W], "counts": ...}, is a still mask.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framefill.errors import MaskMismatch, UnreadableMedia

_MOST_PIXELS = 1 << 28  # 16384x16384: a few bytes of JSON can ask for any amount of memory


def decode_rle(counts: str | Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """One run-length mask as bool H W, True = unknown.

    counts: either spelling of the module's docstring. Raises MaskMismatch when the runs are broken, negative or do not add up to
    `height` x `width` pixels.
    """
    runs = list(runs_of(counts)) if isinstance(counts, str) else list(counts)
    if any(isinstance(run, bool) or not isinstance(run, int) or run < 0 for run in runs):
        raise MaskMismatch("RLE counts hold a negative or non-integer run, expected pixel counts >= 0; write the mask again")
    if sum(runs) != height * width:
        raise MaskMismatch(f"RLE counts add up to {sum(runs)} pixels, size {height}x{width} (HxW) has {height * width}; check `size`")
    unknown = np.arange(len(runs)) % 2 == 1
    return np.repeat(unknown, runs).reshape(width, height).T.copy()


def runs_of(text: str) -> list[int]:
    """The runs that a compressed counts string stands for. Raises MaskMismatch for a string that is cut off or not ASCII 48-111."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise MaskMismatch(f"RLE counts string holds {character!r}, expected characters '0' to 'o'; is this a COCO mask?")
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise MaskMismatch("RLE counts string ends in the middle of a number; the file was cut off, write it again")
    return runs


@dataclass(frozen=True)
class RleClip:
    """The masks of one JSON file: bool H W each, decoded as they are iterated over. fps is None when the file names none."""

    size: tuple[int, int]  # height, width
    counts: tuple[str | tuple[int, ...] | None, ...]
    fps: float | None

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        for index, counts in enumerate(self.counts):
            if counts is None:
                yield np.zeros(self.size, np.bool_)
                continue
            try:
                yield decode_rle(counts, *self.size)
            except MaskMismatch as error:
                raise MaskMismatch(f"mask frame {index}: {error}") from error


def read_rle_file(path: Path) -> RleClip:
    """Read a JSON file in the layout of this module's docstring.

    Raises UnreadableMedia when it is not JSON, MaskMismatch when it has another layout, naming the part that is wrong.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UnreadableMedia(f"{path}: not a JSON file that can be read ({error}); write it again") from error
    if not isinstance(content, dict):
        raise MaskMismatch(f'{path.name}: expected an object {{"size": [H, W], "frames": [...]}}, found {type(content).__name__}')
    size = _size_of(content.get("size"), path)
    frames = [content] if "counts" in content else content.get("frames")
    if not isinstance(frames, list) or not frames:
        raise MaskMismatch(f'{path.name}: no "frames" list with at least one mask in it; see the layout in the documentation')
    fps = content.get("fps")
    if fps is not None and (isinstance(fps, bool) or not isinstance(fps, int | float) or fps <= 0):
        raise MaskMismatch(f'{path.name}: "fps" is {fps!r}, expected frames per second above 0; correct it or leave it out')
    counts = tuple(_counts_of(frame, index, size, path) for index, frame in enumerate(frames))
    return RleClip(size, counts, None if fps is None else float(fps))


def _size_of(size: object, path: Path) -> tuple[int, int]:
    if isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in size):
        if size[0] * size[1] > _MOST_PIXELS:
            raise MaskMismatch(f'{path.name}: "size" is {size[1]}x{size[0]}, which no video has; correct it')
        return size[0], size[1]
    raise MaskMismatch(f'{path.name}: "size" is {size!r}, expected [height, width] in pixels')


def _counts_of(frame: object, index: int, size: tuple[int, int], path: Path) -> str | tuple[int, ...] | None:
    if frame is None:
        return None
    if not isinstance(frame, dict) or not isinstance(frame.get("counts"), str | list):
        raise MaskMismatch(f'{path.name}: frame {index} is not null and has no "counts" (a list of runs or a string)')
    if "size" in frame and _size_of(frame["size"], path) != size:
        raise MaskMismatch(f"{path.name}: frame {index} has size {frame['size']}, the file {list(size)}; all must agree")
    counts = frame["counts"]
    return counts if isinstance(counts, str) else tuple(counts)
