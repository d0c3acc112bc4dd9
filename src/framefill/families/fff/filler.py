"""An image-to-video net as a filler of clips: what lies around each hole is cut out at full resolution, filled, and put back.

A rectangle follows the hole (`crop`); the net sees it at about the size that it was trained on, and what it makes is brought to meet
the rim of the hole. Blocks of frames are made one after the other: each takes the last frames of the block before as known. Within a block
the pipeline's own way with long clips rules, so that memory does not grow with the clip.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from framefill.families.base import Filled, Span, State
from framefill.families.carried import outcome, with_carried
from framefill.families.device import name_of, placement
from framefill.families.fff.crop import Track, tracks
from framefill.families.fff.flow import FlowName
from framefill.families.fff.long import LongVideo
from framefill.families.fff.memory import Way, needed, way_within
from framefill.families.fff.pipeline import OVERLAP, FFFMode, FFFPipeline
from framefill.families.known import refuse_untrained
from framefill.families.scaled import made_smaller, met
from framefill.families.trained import FFFSampling, Sampling, resized
from framefill.families.vdt_filler import work_size

Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W
WINDOWS = 3  # of the net, that a block is long where windows are made together
GUIDANCE = (1.0, 3.0)


@dataclass(frozen=True)
class Asked:
    """How the pipeline is called; `steps` and `mode` None for its own, `inversion` None for none."""

    seed: int = 0
    steps: int | None = None
    mode: FFFMode | None = None
    long_video: LongVideo = "blend"
    guidance: tuple[float, float] = GUIDANCE
    inversion: float | None = None


class FFFFiller:
    """A pipeline as the family `name`; its noise depends on the seed and the frame's number alone.

    Raises UsageError while filling when a block asks for a task that the net was not trained on.
    """

    def __init__(self, pipeline: FFFPipeline, name: str = "fff", asked: Asked | None = None) -> None:
        self.name = name
        self.tasks = pipeline.tasks
        self.pipeline = pipeline
        self.asked = asked or Asked()
        self.reach = min(OVERLAP, pipeline.window // 2)
        self.window = self._block(WINDOWS if self.asked.long_video != "chain" else 1)

    def fill_span(self, span: Span, state: State | None) -> tuple[Filled, State]:
        """Fill the window of a span; `state` holds the last frames of the window before, as they were filled."""
        frames, mask = with_carried(span, state)
        inside = slice(span.fill_start - span.start, span.fill_stop - span.start)
        seen = slice(max(0, inside.start - self.reach), inside.stop)
        made = frames[inside]
        if span.mask[inside].any():
            refuse_untrained(mask[seen], self.tasks, self.name)
            made = self._filled(frames[seen], mask[seen], span.start + seen.start)[inside.start - seen.start :]
        return outcome(span, made, self.reach)

    def fitted(self, limit: int | None, pixels: int, seen: int) -> FFFFiller:
        """The filler that stays below `limit` bytes (of the GPU's memory, where the net is on one), as `families.memory` asks for it."""
        blocks = range(1 if self.asked.long_video == "chain" else WINDOWS, 0, -1)
        way = way_within(self.pipeline, limit, pixels, seen, [Way(self._block(count), self.reach) for count in blocks])
        other = copy.copy(self)
        other.window, other.pipeline = way.window, copy.copy(self.pipeline)
        other.pipeline.portions = way.portions
        if way.offloads:
            other.pipeline.to(self.pipeline.device, self.pipeline.unet.dtype, offload=True)
        return other

    def room(self, limit: int | None, pixels: int, seen: int) -> int | None:
        """Bytes of main memory that this filler leaves of a limit; None where it says nothing of that, for the net is on a GPU."""
        if limit is None or self.pipeline.device.type != "cpu":
            return None
        return limit - needed(self.pipeline, Way(self.window, self.reach, self.pipeline.portions), pixels, seen)

    def _block(self, count: int) -> int:
        """How many new frames a block of `count` windows makes."""
        return self.pipeline.window + (count - 1) * (self.pipeline.window - self.reach) - self.reach

    def _filled(self, frames: Frames, mask: Mask, first: int) -> Frames:
        """Fill frames of which `first` is the number of the first, rectangle by rectangle."""
        out, left = frames.copy(), mask.copy()
        for number, path in enumerate(tracks(mask, self.pipeline.size)):
            hole = np.asarray(path.cut(left), np.bool_)
            if hole.any():
                path.paste(out, self._made(np.asarray(path.cut(out), np.uint8), hole, path, (first, number)))
                path.paste(left, np.zeros_like(hole))
        return out

    def _made(self, frames: Frames, hole: Mask, path: Track, place: tuple[int, int]) -> Frames:
        """Fill one rectangle's clip; `place` is its first frame's number and its own."""
        height, width = work_size((path.height, path.width), self.pipeline.size)
        asked = self.asked
        seed = int(np.random.SeedSequence([asked.seed, place[1]]).generate_state(1)[0])
        made: Frames = self.pipeline(
            *made_smaller(frames, hole, height, width),
            generator=torch.Generator().manual_seed(seed),
            fff_mode=asked.mode,
            num_inference_steps=asked.steps,
            min_guidance_scale=asked.guidance[0],
            max_guidance_scale=asked.guidance[1],
            long_video=asked.long_video,
            invert_until=asked.inversion,
            first_frame=place[0],
        ).frames
        large = resized(made, path.height, path.width)
        joined = np.stack([met(*parts) for parts in zip(large, frames, hole, strict=True)])
        return np.where(hole[..., None], joined, frames)


def load_filler(folder: Path, sampling: Sampling) -> FFFFiller:
    """Read a pipeline and put it where `sampling` says.

    Raises WeightsError for a damaged folder, UsageError for a device or a number format that this machine has not, and for a mode of
    filling that the net has not.
    """
    pipeline = FFFPipeline.from_pretrained(folder).to(*placement(sampling))
    told = sampling.fff or FFFSampling()
    if told.flow is not None:
        pipeline.flow = cast("FlowName", told.flow)
    asked = Asked(sampling.seed, sampling.steps, guidance=told.guidance or GUIDANCE, inversion=told.inversion)
    pipeline.levels.check_inversion(told.inversion)
    if told.mode is not None:
        asked = replace(asked, mode=pipeline.checked(cast("FFFMode", told.mode)))
    if told.long_video is not None:
        asked = replace(asked, long_video=cast("LongVideo", told.long_video))
    return FFFFiller(pipeline, name_of(folder), asked)
