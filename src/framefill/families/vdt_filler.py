"""VDT as a filler, so that a file of any length and size is filled by it as by any other family.

A net sees pictures of about the size that it was trained on: a larger frame is made smaller for it, and what it makes is made larger again
and bent to meet the rim of its hole. Known pixels never take that way: they stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from framefill.families.base import Filled, Span, State
from framefill.families.carried import outcome, with_carried
from framefill.families.device import name_of, placement
from framefill.families.known import refuse_untrained
from framefill.families.scaled import met, shrunk
from framefill.families.trained import USUAL_STEPS, Sampling, resized
from framefill.families.vdt import OVERLAP, VDTPipeline

Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W


class VDTFiller:
    """A pipeline as the family `name`; its noise depends on `seed` and the window's place in the clip alone.

    As a filler, a window reads up to `reach` frames on either side; those before it are known as the windows before made them. Raises
    UsageError while filling when a window asks for a task that the net was not trained on.
    """

    def __init__(self, pipeline: VDTPipeline, name: str = "vdt", seed: int = 0, num_inference_steps: int = 20) -> None:
        self.name = name
        self.tasks = pipeline.tasks
        self.length = pipeline.window
        self.reach = min(OVERLAP, -(-pipeline.window // 4), (pipeline.window - 1) // 2)
        self.window = pipeline.window - 2 * self.reach
        self._pipeline = pipeline
        self._seed = seed
        self._steps = num_inference_steps

    def fill_span(self, span: Span, state: State | None) -> tuple[Filled, State]:
        """Fill the window of a span; `state` holds the last frames of the window before, as they were filled."""
        frames, mask = with_carried(span, state)
        inside = slice(span.fill_start - span.start, span.fill_stop - span.start)
        seen = slice(max(0, inside.start - self.reach), inside.stop + self.reach)
        made = self._filled(frames[seen], mask[seen], span.fill_start)[inside.start - seen.start :][: inside.stop - inside.start]
        return outcome(span, made, self.reach)

    def work_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the net sees a picture of this size."""
        return work_size((height, width), self._pipeline.size)

    def make(self, frames: Frames, unknown: NDArray[np.bool_], place: tuple[int, int], told: Callable[[float], None]) -> Frames:
        """Make whole frames at the net's own size, as `trained.Trained` has it."""
        mask = np.broadcast_to(unknown[:, None, None], frames.shape[:3]).copy()
        return self._sampled(frames, mask, place, told)

    def _filled(self, frames: Frames, mask: Mask, index: int) -> Frames:
        if not mask.any():
            return frames
        height, width = self.work_size(*mask.shape[1:])
        made = self._sampled(resized(frames, height, width), shrunk(mask, height, width), (index, 0), lambda _: None)
        if made.shape == frames.shape:
            return made
        large = resized(made, *mask.shape[1:])
        return np.stack([met(*parts) for parts in zip(large, frames, mask, strict=True)])

    def _sampled(self, frames: Frames, mask: Mask, place: tuple[int, int], told: Callable[[float], None]) -> Frames:
        refuse_untrained(mask, self.tasks, self.name)
        seed = int(np.random.SeedSequence([self._seed, *place]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)

        def after(step: int, *_: torch.Tensor) -> None:
            told((step + 1) / self._steps)

        made: Frames = self._pipeline(frames, mask, num_inference_steps=self._steps, generator=generator, callback=after).frames
        return made


def load_filler(folder: Path, sampling: Sampling) -> VDTFiller:
    """Read a trained pipeline and put it where `sampling` says.

    Raises WeightsError for a damaged folder, UsageError for a device or a number format that this machine has not.
    """
    return VDTFiller(
        VDTPipeline.from_pretrained(folder).to(*placement(sampling)), name_of(folder), sampling.seed, sampling.steps or USUAL_STEPS
    )


def work_size(picture: tuple[int, int], size: int) -> tuple[int, int]:
    """Height and width at which a net trained on pictures with a shorter side of `size` sees a picture: never larger than it is."""
    height, width = picture
    scale = min(1.0, size / min(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))
