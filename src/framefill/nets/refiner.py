"""The noise refiner: features of all frames carried along the flow to the first frame and back to the last, beside what they were.

Learnable bidirectional propagation as in Zhou et al., ProPainter, ICCV 2023, section 3.3, put behind a diffusion network's first
convolution by FFF-VDI, AAAI 2025 (arXiv 2408.11402). The names of the tensors are those of its public release.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from framefill.nets.dna import Alignment, told
from framefill.nets.guide import Guide

GROUPS = 16  # of channels that share their offsets
LEAD, FOLLOW = "backward_1", "forward_1"  # the pass from the last frame to the first, and the one back


class Refiner(nn.Module):
    """Bidirectional deformable propagation of features B T C h w, added to them; untrained it adds nothing.

    channels must be a multiple of 16, else UsageError. With C = 320 it has 20,035,744 weights.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        both = (LEAD, FOLLOW)
        self.deform_align = nn.ModuleDict(
            {name: Alignment(channels, channels, 2 * channels + 4, groups=GROUPS, hidden=channels) for name in both}
        )
        self.backbone = nn.ModuleDict({name: _mixer(channels) for name in both})
        self.fuse = _mixer(channels)
        nn.init.zeros_(self.fuse[-1].weight)  # until trained, the features are what the stock network makes of them
        nn.init.zeros_(self.fuse[-1].bias)
        self.gradient_checkpointing = False  # diffusers switches it, and gives the function
        self._gradient_checkpointing_func: Callable[..., Tensor] | None = None

    def forward(self, features: Tensor, guide: Guide) -> Tensor:
        """Refine features B T C h w. Raises UsageError for a guide of another length or size."""
        guide = guide.fitting(features)
        mask = guide.mask.to(features.dtype)
        led = self.propagated(LEAD, features, guide)
        followed = self.propagated(FOLLOW, led, guide)
        joined = torch.cat((led, followed, mask), 2).flatten(0, 1)
        return features + self.fuse(joined).unflatten(0, features.shape[:2])

    def propagated(self, name: str, features: Tensor, guide: Guide) -> Tensor:
        """One pass: "backward_1" from the last frame to the first along `there`, "forward_1" from the first to the last along `back`."""
        frames = range(features.shape[1])
        leads = name == LEAD
        order = list(reversed(frames) if leads else frames)
        flows, trusts = (guide.there, guide.trust_there) if leads else (guide.back, guide.trust_back)
        made: dict[int, Tensor] = {}
        for before, frame in zip([None, *order], order, strict=False):
            here, mask = features[:, frame], guide.mask[:, frame]
            if before is None:
                made[frame] = self._step(name, here, mask)
                continue
            pair = min(before, frame)
            made[frame] = self._step(name, here, mask, made[before], flows[:, pair], trusts[:, pair])
        return torch.stack([made[frame] for frame in frames], 1)

    def _step(self, name: str, *parts: Tensor) -> Tensor:
        if self._gradient_checkpointing_func is not None and self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(self._stepped, name, *parts)
        return self._stepped(name, *parts)

    def _stepped(
        self, name: str, here: Tensor, mask: Tensor, before: Tensor | None = None, flow: Tensor | None = None, trust: Tensor | None = None
    ) -> Tensor:
        """One frame of a pass: the frame before aligned with it, then mixed with it; the first frame of a pass is its own."""
        carried = here
        if before is not None and flow is not None and trust is not None:
            carried = self.deform_align[name](before, told(here, before, flow, trust, mask), flow)
        return carried + self.backbone[name](torch.cat((here, carried, mask.to(here.dtype)), 1))


def _mixer(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2 * channels + 1, channels, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(channels, channels, 3, padding=1),
    )
