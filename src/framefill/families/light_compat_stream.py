"""A video of any length through a net that sees twelve frames: a buffer that slides, with context before and after what it gives.

As published: the first frame of a shot stands for the context before it, the last one for what is missing at its end, and between two
windows there is no cross-fade. What a frame is made from depends on its shot alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from framefill.errors import MaskMismatch, UsageError
from framefill.stereo.dilation import close, dilate_inner, dilate_outer
from framefill.stereo.geometry import Eye

if TYPE_CHECKING:
    from framefill.families.light_compat import LightCompatPipeline

Frame = NDArray[np.uint8]  # H W 3
Hole = NDArray[np.bool_]  # H W
Overlap = tuple[int, int]  # frames of a window that are context only, before and after those that are kept
OVERLAP: Overlap = (3, 3)


class LightCompatStream:
    """Frames in, one by one, and the same frames out, filled, in order and each once, some frames later.

    overlap: frames of context before and after what a window keeps; (3, 3) by default, (0, 0) for the net of single pictures. eye: "left"
    pictures are mirrored for the net. closing, inner, outer: the hole is closed, then grown by so many pixels towards what stands in front
    and over what it had hidden. soft_rim: the published blend over 7 pixels around the hole; else known pixels stay as they are.
    Raises UsageError for an overlap that leaves no frame to keep.
    """

    def __init__(
        self,
        pipeline: LightCompatPipeline,
        *,
        overlap: Overlap | None = None,
        eye: Eye = "right",
        closing: int = 0,
        inner: int = 0,
        outer: int = 0,
        soft_rim: bool = False,
    ) -> None:
        if overlap is None:
            overlap = OVERLAP if sum(OVERLAP) < pipeline.window else (0, 0)
        if min(overlap) < 0 or sum(overlap) >= pipeline.window:
            raise UsageError(
                f"overlap is {overlap[0]} before and {overlap[1]} after, of a window of {pipeline.window} frames; "
                f"expected 0 or more each and {pipeline.window - 1} at most together"
            )
        self._pipeline = pipeline
        self._before, self._after = overlap
        self._mirrored = eye == "left"
        self._grown = closing, inner, outer
        self._soft_rim = soft_rim
        self._frames: list[Frame] = []
        self._masks: list[Hole] = []

    @property
    def delay(self) -> int:
        """How many frames may be held back before the next one comes out."""
        return self._pipeline.window - self._before - 1

    def push(self, frame: Frame, mask: Hole) -> list[Frame]:
        """Take the next frame uint8 H W 3 and its hole bool H W; give the frames that are finished, often none.

        What stands in the hole is not looked at. Raises UsageError and MaskMismatch for other arrays or another size than the frame before.
        """
        self._check(frame, mask)
        hole = self._as_grown(mask[:, ::-1] if self._mirrored else mask)
        picture = np.ascontiguousarray(frame[:, ::-1]) if self._mirrored else frame.copy()
        copies = 1 if self._frames else 1 + self._before
        self._frames += [picture] * copies
        self._masks += [hole] * copies
        window = self._pipeline.window
        if len(self._frames) < window:
            return []
        made = self._made(slice(self._before, window - self._after))
        keep = window - self._before - self._after
        self._frames, self._masks = self._frames[keep:], self._masks[keep:]
        return made

    def flush(self) -> list[Frame]:
        """Give what is still held back and forget everything: at the end of the video and before the first frame of a new shot."""
        held = len(self._frames)
        missing = self._pipeline.window - held
        made: list[Frame] = []
        if held > self._before:
            self._frames += self._frames[-1:] * missing
            self._masks += self._masks[-1:] * missing
            made = self._made(slice(self._before, held))
        self._frames, self._masks = [], []
        return made

    def _made(self, kept: slice) -> list[Frame]:
        made = self._pipeline.fill(np.stack(self._frames), np.stack(self._masks), kept, self._soft_rim)
        return [np.ascontiguousarray(frame[:, ::-1]) if self._mirrored else frame for frame in made]

    def _as_grown(self, mask: Hole) -> Hole:
        closing, inner, outer = self._grown
        return dilate_outer(dilate_inner(close(mask, closing), inner), outer)

    def _check(self, frame: Frame, mask: Hole) -> None:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
            raise UsageError(f"frame is {frame.dtype} {frame.shape}, expected uint8 H W 3")
        if mask.dtype != np.bool_ or mask.shape != frame.shape[:2]:
            raise MaskMismatch(f"mask is {mask.dtype} {mask.shape}, frame is {frame.shape}; expected bool {frame.shape[:2]}")
        if self._frames and self._frames[0].shape != frame.shape:
            raise UsageError(f"frame is {frame.shape}, the one before {self._frames[0].shape}; flush before the size changes")
