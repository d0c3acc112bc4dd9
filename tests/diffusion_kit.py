"""Gaussian data, for which the best denoiser and the noise-free path are known in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from framefill.diffusion.precond import Kind, Process, over

torch.set_num_threads(1)
KINDS: tuple[Kind, ...] = get_args(Kind)
SHAPE = (2, 3, 2, 4, 5)  # B T C H W


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


@dataclass(frozen=True)
class Gaussian:
    """Data of independent N(mean, std^2) under a process."""

    process: Process
    mean: float = 0.3
    std: float = 0.7

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The posterior mean E[x0 | x]."""
        a, b = (over(rate, x) for rate in self.process.rates(sigma))
        return self.mean + a * self.std**2 / (a**2 * self.std**2 + b**2) * (x - a * self.mean)

    def path(self, x: Tensor, here: float, there: float) -> Tensor:
        """Where the noise-free path from x at level `here` stands at level `there`: as many deviations from the mean as before."""
        (a, b), (a_there, b_there) = (self.process.rates(torch.tensor(level, dtype=torch.float64)) for level in (here, there))
        spread, spread_there = (torch.sqrt(a**2 * self.std**2 + b**2), torch.sqrt(a_there**2 * self.std**2 + b_there**2))
        return a_there * self.mean + spread_there / spread * (x - a * self.mean)


def smooth_ladder(process: Process, steps: int) -> Tensor:
    """A ladder that is a smooth function of the fraction of the way, and does not reach 0: what an order of convergence is about."""
    if process.kind == "flow":
        return torch.linspace(0.95, 0.05, steps + 1, dtype=torch.float64)
    return torch.logspace(1.0, -1.5, steps + 1, dtype=torch.float64)
