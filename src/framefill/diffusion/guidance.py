"""Guidance: an estimate pushed away from a worse one, D' = D_w + w (D - D_w), as closures that samplers call.

A guide takes x, sigma and the estimate x0, and returns the guided x0. Sources: Ho and Salimans 2022 (classifier-free, arXiv 2207.12598),
Karras et al. 2024 (autoguidance, 2406.02507), Kynkäänniemi et al. 2024 (interval, 2404.07724), Lin et al. 2023 (rescale, 2305.08891).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from framefill.diffusion.precond import Precond, over

Denoise: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # (x B T C H W, sigma B or B T) -> x0
Guide: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]  # (x, sigma, x0) -> x0
Interval: TypeAlias = tuple[float, float]
ALWAYS: Interval = (0.0, math.inf)


def classifier_free(
    precond: Precond, null_cond: Mapping[str, Tensor | None], scale: float | Tensor, *, interval: Interval = ALWAYS, rescale: float = 0.0
) -> Guide:
    """Guidance away from what the same network says without the condition; `null_cond` stands in for it.

    scale: 1 changes nothing; a tensor B or B T gives each sample or frame its own. interval: the noise levels low < sigma <= high, in the
    process's own measure, at which to guide; outside, the second estimate is not made. rescale: 0 .. 1, how far the guided estimate's
    standard deviation over a sample is brought back to that of the conditioned one (Lin et al., equations 15 and 16, here on x0).
    """
    return away_from(lambda x, sigma: precond(x, sigma, **null_cond), scale, interval=interval, rescale=rescale)


def away_from(worse: Denoise, scale: float | Tensor, *, interval: Interval = ALWAYS, rescale: float = 0.0) -> Guide:
    """Guidance away from another denoiser: one that knows less, or (autoguidance) a smaller or less trained one.

    Options as for `classifier_free`.
    """

    def guide(x: Tensor, sigma: Tensor, x0: Tensor) -> Tensor:
        low, high = interval
        active = (sigma > low) & (sigma <= high)
        if not active.any():
            return x0
        start = worse(x, sigma)
        weight = over(scale, x) if isinstance(scale, Tensor) else scale
        guided = start + weight * (x0 - start)
        if rescale:
            guided = guided * (1 - rescale + rescale * _spread(x0) / _spread(guided))
        return torch.where(over(active, x), guided, x0)

    return guide


def _spread(x: Tensor) -> Tensor:
    return x.std(dim=tuple(range(1, x.ndim)), keepdim=True)
