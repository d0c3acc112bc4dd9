"""Noise levels: ladders that samplers walk down, and densities that training draws from.

A ladder of `steps` steps is float64, of `steps + 1` levels, falls, and ends in 0; a sampler takes one estimate a step (Heun two).
Sources: Ho et al. 2020 (DDPM, arXiv 2006.11239), Nichol and Dhariwal 2021 (respacing, 2102.09672), Karras et al. 2022 (EDM, 2206.00364),
Esser et al. 2024 (SD3, 2403.03206).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from framefill.diffusion import noise
from framefill.diffusion.noise import Generators
from framefill.errors import UsageError

SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0  # EDM, table 1
P_MEAN, P_STD = -1.2, 1.2  # EDM, table 1


@dataclass(frozen=True, eq=False)
class Ladder:
    """The discrete steps of a variance-preserving process by their share of signal: `abar` float64 N, falling, within (0, 1)."""

    abar: Tensor

    @property
    def sigmas(self) -> Tensor:
        """The noise level of each step, sqrt((1 - abar) / abar), float64 N, rising."""
        return ((1 - self.abar) / self.abar).sqrt()

    def step(self, sigma: Tensor) -> Tensor:
        """The step at which `sigma` (any shape) stands, 0 .. N - 1, continuous: linear in log sigma between two steps, held at the ends."""
        table = self.sigmas.log().to(sigma.dtype).to(sigma.device)
        wanted = sigma.log().contiguous()
        above = torch.searchsorted(table, wanted).clamp(1, len(table) - 1)
        low, high = table[above - 1], table[above]
        return (above - 1 + (wanted - low) / (high - low)).clamp(0, len(table) - 1)

    def respaced(self, steps: int) -> Tensor:
        """A ladder over `steps` of the N steps, spread evenly from the last to the first, with their own abar; then 0.

        Raises UsageError for a number of steps outside 1 .. N.
        """
        if not 1 <= steps <= len(self.abar):
            raise UsageError(f"{steps} steps were asked of a ladder of {len(self.abar)}; ask for 1 to {len(self.abar)}")
        taken = torch.linspace(len(self.abar) - 1, 0, steps, dtype=torch.float64).round().long()
        return _to_zero(self.sigmas[taken])


def linear_beta(steps: int = 1000, first: float = 1e-4, last: float = 2e-2) -> Ladder:
    """The ladder of DDPM: beta rises linearly from `first` to `last`, abar is the product of 1 - beta (Ho et al., section 4)."""
    return Ladder(torch.cumprod(1 - torch.linspace(first, last, steps, dtype=torch.float64), 0))


def karras(steps: int, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX, rho: float = RHO) -> Tensor:
    """A ladder from `sigma_max` to `sigma_min`, even in sigma^(1/rho), then 0 (EDM, equation 5). Raises UsageError without a step."""
    return _to_zero(karras_at(_fractions(steps, last=1.0), sigma_min, sigma_max, rho))


def karras_at(fraction: Tensor, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX, rho: float = RHO) -> Tensor:
    """The noise level at a fraction 0 (`sigma_max`) .. 1 (`sigma_min`) of the way down (EDM, equation 5)."""
    start, end = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return (start + fraction * (end - start)) ** rho


def uniform_ladder(steps: int, start: float = 1.0) -> Tensor:
    """A ladder in equal steps from `start` to 0: flow matching's times. Raises UsageError without a step."""
    return _to_zero(start * (1 - _fractions(steps, last=1 - 1 / steps if steps else 0.0)))


def shifted(times: Tensor, shift: float) -> Tensor:
    """Flow times in [0, 1] moved towards noise (`shift` > 1; larger pictures want more) or data (< 1); 0 and 1 stay (SD3, equation 23)."""
    return shift * times / (1 + (shift - 1) * times)


def log_normal(shape: Sequence[int], generator: Generators, mean: float = P_MEAN, std: float = P_STD) -> Tensor:
    """Noise levels whose logarithm is normal, float32, of `shape` B or B T (EDM, table 1; EDM2 takes -0.4 and 1.0)."""
    return (mean + std * noise.normal(shape, generator)).exp()


def logit_normal(shape: Sequence[int], generator: Generators, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Flow times in (0, 1) whose logit is normal, float32, of `shape` B or B T (SD3, equation 19).

    t / (1 - t) is then `log_normal` with the same mean and std.
    """
    return torch.sigmoid(mean + std * noise.normal(shape, generator))


def uniform(shape: Sequence[int], generator: Generators, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Noise levels uniform in [low, high), float32, of `shape` B or B T."""
    return low + (high - low) * noise.uniform(shape, generator)


def _fractions(steps: int, last: float) -> Tensor:
    if steps < 1:
        raise UsageError(f"{steps} steps were asked for; ask for 1 or more")
    return torch.linspace(0, last, steps, dtype=torch.float64)


def _to_zero(levels: Tensor) -> Tensor:
    return torch.cat((levels, levels.new_zeros(1)))
