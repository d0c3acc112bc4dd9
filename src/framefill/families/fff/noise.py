"""Noise that belongs to a frame's number: the same in every window that holds the frame, in whatever order windows are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Use = Literal["latents", "condition"]
_STREAM: dict[Use, int] = {"latents": 0, "condition": 1}


@dataclass(frozen=True)
class FrameNoise:
    """Standard normal noise for the frames `numbers` of a clip; `base` is the clip's own number, drawn once."""

    base: int
    numbers: NDArray[np.int64]

    @classmethod
    def drawn(cls, generator: torch.Generator) -> FrameNoise:
        """The noise of a clip, for no frames as yet, from one draw of a generator on any device."""
        base = torch.randint(2**62, (1,), generator=generator, device=generator.device)
        return cls(int(base), np.zeros(0, np.int64))

    def at(self, numbers: NDArray[np.int64]) -> FrameNoise:
        """The same noise for other frames; numbers are 0 or more."""
        return replace(self, numbers=numbers)

    def like(self, video: Tensor, use: Use) -> Tensor:
        """Noise 1 T C H W of the shape, kind and device of `video`, drawn on the CPU; another for each use."""
        drawn = [
            torch.randn(video.shape[2:], generator=torch.Generator().manual_seed(self._seed(int(number), use))) for number in self.numbers
        ]
        return torch.stack(drawn)[None].to(video)

    def _seed(self, number: int, use: Use) -> int:
        return int(np.random.SeedSequence([self.base, _STREAM[use], number]).generate_state(1, np.uint64)[0] >> np.uint64(1))
