"""The published light networks as a filler, so that a file is filled by them as by any other family."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from framefill.families.base import GENERATED, Filled, Span, State
from framefill.families.device import name_of, placement
from framefill.families.known import refuse_untrained
from framefill.families.light_compat import LightCompatPipeline
from framefill.families.light_compat_stream import OVERLAP
from framefill.families.trained import Sampling


class LightCompatFiller:
    """A pipeline as the family `name`. A window is what the published buffer keeps of its `length` frames, the reach its context.

    Raises UsageError while filling when a window asks for a task that the net was not trained on.
    """

    def __init__(self, pipeline: LightCompatPipeline, name: str = "light-compat") -> None:
        self.name = name
        self.tasks = pipeline.tasks
        self.length = pipeline.window
        self.reach = min(OVERLAP) if sum(OVERLAP) < pipeline.window else 0
        self.window = pipeline.window - 2 * self.reach
        self._pipeline = pipeline

    def fill_span(self, span: Span, state: State | None) -> tuple[Filled, State]:
        """Fill the window of a span, from it and what the span shows within reach; there is no state."""
        inside = slice(span.fill_start - span.start, span.fill_stop - span.start)
        hole = span.mask[inside]
        refuse_untrained(hole, self.tasks, self.name)
        after = min(self.reach, len(span.frames) - inside.stop)
        before = min(self.reach, self.length - len(hole) - after)
        # Beyond what is shown the first or the last frame stands in, as in the published buffer.
        seen = (np.arange(self.length) + inside.start - before).clip(0, inside.stop + after - 1)
        made = self._pipeline.fill(span.frames[seen], span.mask[seen], slice(before, before + len(hole)))
        return Filled(made, np.where(hole, np.uint8(GENERATED), np.uint8(0)), np.zeros_like(hole)), {}


def load_filler(folder: Path, sampling: Sampling) -> LightCompatFiller:
    """Read a trained pipeline and put it where `sampling` says; it draws no noise, so that seed and steps change nothing.

    Raises WeightsError for a damaged folder, UsageError for a device or a number format that this machine has not.
    """
    return LightCompatFiller(LightCompatPipeline.from_pretrained(folder).to(*placement(sampling)), name_of(folder))
