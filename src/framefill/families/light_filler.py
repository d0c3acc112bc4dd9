"""Light as a filler of clips.

Only what lies around a hole is looked at: rectangles with `CONTEXT` pixels of surroundings, over all frames of a window at once. Windows
overlap by `REACH` frames on either side, and what two of them make of the same frame is cross-faded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.families.base import GENERATED, Filled, Span, State
from framefill.families.device import name_of, placement
from framefill.families.known import refuse_untrained
from framefill.families.light import LightPipeline
from framefill.families.memory import needed_memory
from framefill.families.trained import Sampling
from framefill.media.windows import assemble_tiles, tiles
from framefill.motion.regions import regions_of

Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W
CONTEXT = 64  # pixels around a hole
REACH = 2  # frames
LONG = 12  # frames seen at once after propagation
# Bytes by which a process grows, whatever it fills, and for each frame seen at once: 12 frames with a hole of 500x500 pixels, worked on in
# tiles, took 1.11 GB, 4 of them 0.74, a single one of 180x180 0.43.
MEMORY, FRAME = 550_000_000, 46_000_000
LARGEST, OVERLAP = 640, 96  # pixels a side of what is made at once, and shared by two neighbours


class LightFiller:
    """A pipeline as the family `name`; `length` frames at once, as many as it was trained on by default.

    Raises UsageError while filling when a window asks for a task that the net was not trained on.
    """

    def __init__(self, pipeline: LightPipeline, name: str = "light", length: int | None = None) -> None:
        self.name = name
        self.tasks = pipeline.tasks
        self.length = length or pipeline.window
        self.reach = min(REACH, (self.length - 1) // 2)
        self.window = self.length - 2 * self.reach
        self._pipeline = pipeline

    def fill_span(self, span: Span, state: State | None) -> tuple[Filled, State]:
        """Fill the window of a span; `state` holds what the window before made of this one's first frames."""
        inside = slice(span.fill_start - span.start, span.fill_stop - span.start)
        hole = span.mask[inside]
        refuse_untrained(hole, self.tasks, self.name)
        seen = slice(max(0, inside.start - self.reach), inside.stop + self.reach)
        made = fill_regions(self._pipeline, span.frames[seen], span.mask[seen])
        first = inside.start - seen.start
        new, beyond = made[first : first + len(hole)], made[first + len(hole) :]
        if state is not None and int(state["start"][0]) == span.fill_start:
            new = _faded(np.asarray(state["made"], np.uint8), new)
        filled: Frames = np.where(hole[..., None], new, span.frames[inside])
        kept: State = {"made": beyond.copy(), "start": np.array([span.fill_stop])}
        return Filled(filled, np.where(hole, np.uint8(GENERATED), np.uint8(0)), np.zeros_like(hole)), kept

    def fitted(self, limit: int | None, pixels: int, seen: int) -> LightFiller:
        """The filler that sees as many frames at once as stay below `limit` bytes, as `families.memory` asks for it."""
        if limit is None or self._pipeline.net.device.type != "cpu":
            return self
        for length in range(self.length, 0, -1):
            other = LightFiller(self._pipeline, self.name, length)
            if other._needed(pixels, seen) <= limit:
                return other
        least = -(-other._needed(pixels, seen) // 10**6)
        raise UsageError(f"--memory {limit / 1e6:.0f}MB is too little for this clip and a net; the smallest that works is {least}MB")

    def longer(self) -> LightFiller:
        """The filler for what is left where other frames have shown the rest: many frames at once, so that windows seldom meet."""
        return LightFiller(self._pipeline, self.name, max(LONG, self.length))

    def room(self, limit: int | None, pixels: int, seen: int) -> int | None:
        """Bytes of main memory that this filler leaves of a limit; None without one, and where the net is on a GPU."""
        if limit is None or self._pipeline.net.device.type != "cpu":
            return None
        return limit - self._needed(pixels, seen)

    def _needed(self, pixels: int, seen: int) -> int:
        return needed_memory(self.window, self.reach, pixels, seen) + MEMORY + FRAME * self.length


def fill_regions(pipeline: LightPipeline, frames: Frames, mask: Mask) -> Frames:
    """Fill frames uint8 T H W 3 that the net may see at once where `mask` (bool T H W) is True, each hole from its surroundings."""
    out = frames.copy()
    for region in regions_of(np.asarray(mask.any(0), np.bool_), CONTEXT):
        rows, columns = region.area
        out[:, rows, columns] = _filled(pipeline, frames[:, rows, columns], mask[:, rows, columns])
    return out


def load_filler(folder: Path, sampling: Sampling) -> LightFiller:
    """Read a trained pipeline and put it where `sampling` says; it draws no noise, so that seed and steps change nothing.

    Raises WeightsError for a damaged folder, UsageError for a device or a number format that this machine has not.
    """
    return LightFiller(read(folder, sampling), name_of(folder))


def read(folder: Path, sampling: Sampling) -> LightPipeline:
    """Read a trained pipeline and put it where `sampling` says. Raises as `load_filler` does."""
    device, dtype = placement(sampling)
    if device.type == "cpu" and sampling.dtype == "auto" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        dtype = torch.bfloat16  # quicker where the processor has it; what the net changes is added in float32
    return LightPipeline.from_pretrained(folder).to(device, dtype)


def _filled(pipeline: LightPipeline, frames: Frames, mask: Mask) -> Frames:
    """Fill a rectangle; a large one in tiles."""
    height, width = mask.shape[1:]
    if max(height, width) <= LARGEST:
        small: Frames = pipeline.fill(frames, mask)
        return small
    cut = tiles(height, width, LARGEST, OVERLAP)
    made = [pipeline.fill(frames[:, *tile.read], mask[:, *tile.read]) for tile in cut]
    whole = frames.copy()
    for number in range(len(frames)):
        whole[number] = assemble_tiles([(tile, part[number]) for tile, part in zip(cut, made, strict=True)], height, width)
    return whole


def _faded(before: Frames, new: Frames) -> Frames:
    """Cross-fade the first frames of a window with what the window before made of them."""
    count = min(len(before), len(new))
    share = (np.arange(1, count + 1) / (len(before) + 1)).astype(np.float32)[:, None, None, None]
    blend = before[:count] + share * (new[:count].astype(np.float32) - before[:count])
    return np.concatenate([np.rint(blend).astype(np.uint8), new[count:]])
