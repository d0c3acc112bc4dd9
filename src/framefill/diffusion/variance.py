"""Variances of DDPM's steps back, learned between their two bounds: what trains them, and the ancestral step that uses them.

Beside its estimate a network gives a number r for each number of x; the log-variance of the step is then (1 + r)/2 log beta +
(1 - r)/2 log beta~: r = 1 is the variance of the noise that the step forward added, r = -1 that of the exact way back if x0 were known.
Nichol and Dhariwal 2021 (Improved DDPM, arXiv 2102.09672, equations 13 to 16). For the processes `eps` and `v`, whose levels are steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from framefill.diffusion.guidance import Denoise
from framefill.diffusion.precond import Process, over
from framefill.diffusion.samplers import Move

BIN = 1 / 255  # half of the distance between two of 256 values in [-1, 1]
OUTERMOST = 0.999  # from here on a value stands for everything beyond it, too
Both = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (x, sigma) -> x0 and r


class Posterior(NamedTuple):
    """The way back from one level to a lower one: mean `clean` x0 + `noisy` x, log-variance between `least` and `most`."""

    clean: Tensor
    noisy: Tensor
    least: Tensor
    most: Tensor

    def log_variance(self, learned: Tensor) -> Tensor:
        """Return the log-variance for the network's r, B T C H W."""
        share = (learned + 1) / 2
        return share * over(self.most, learned) + (1 - share) * over(self.least, learned)


def posterior(process: Process, here: Tensor, there: Tensor) -> Posterior:
    """Return the step from level `here` to `there` below it (both B or B T), in float64; DDPM, arXiv 2006.11239, equation 7.

    To level 0, where beta~ is none, `least` is that of the step above it, as in Improved DDPM.
    """
    signal, after = (process.rates(level.double())[0] ** 2 for level in (here, there))  # abar
    beta = 1 - signal / after
    clean = after.sqrt() * beta / (1 - signal)
    noisy = (signal / after).sqrt() * (1 - after) / (1 - signal)
    first, second = process.ladder.abar[:2].tolist()
    lowest = (1 - second / first) * (1 - first) / (1 - second)
    least = torch.where(after < 1, beta * (1 - after) / (1 - signal), lowest)
    return Posterior(clean, noisy, least.log(), beta.log())


def below(process: Process, sigma: Tensor) -> Tensor:
    """Return the level one step of the ladder under `sigma` (any shape), float64: linear in log sigma between steps, 0 under the first."""
    sigma = sigma.double()
    table = process.ladder.sigmas.log()
    step = process.ladder.step(sigma) - 1
    low = step.floor().long().clamp(0, len(table) - 2)
    level = (table[low] + (step - low) * (table[low + 1] - table[low])).exp()
    return torch.where(step > -0.5, torch.where(step > 0, level, table[0].exp()), 0.0)


def variational_bound(process: Process, x0: Tensor, made: Tensor, learned: Tensor, sigma: Tensor) -> Tensor:
    """Return each number's part of the variational bound for one step down from `sigma`, in bits, float32 B T C H W.

    x0: the truth. made: the estimate of it, which gets no gradient. learned: the network's r. From the first step of the
    ladder it is the likelihood of x0 among 256 values in [-1, 1], else the divergence from the exact way back. Times the number of
    steps it is the bound (equations 4 to 7).
    """
    sigma = sigma.cpu()  # in float64, which not every device has
    there = below(process, sigma)
    way = posterior(process, sigma, there)
    log_variance = way.log_variance(learned.float())
    error = over(way.clean, x0) * (x0.float() - made.detach().float())
    exact = over(way.least, x0)
    divergence = 0.5 * (log_variance - exact - 1 + (exact - log_variance).exp() + error.square() * (-log_variance).exp())
    last = over((there == 0).float(), x0) > 0
    return torch.where(last, _surprise(x0.float(), made.detach().float(), log_variance), divergence) / math.log(2)


@dataclass
class LearnedSteps:
    """Ancestral sampling with the learned variance: `sample(steps.watching(both), ..., method=steps)`, which draws noise."""

    _learned: list[Tensor] = field(default_factory=list)

    def watching(self, both: Both) -> Denoise:
        """Return the denoiser of `both` and keep what it says of the variance for the step that follows."""

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            x0, learned = both(x, sigma)
            self._learned[:] = [learned]
            return x0

        return denoise

    def __call__(self, move: Move) -> Tensor:
        """Take one step; a level that stands still keeps its bits, and the step to 0 draws nothing into x."""
        moves = move.here > move.there
        way = posterior(move.process, torch.where(moves, move.here, move.here + 1), move.there)
        clean, noisy = torch.where(moves, way.clean, 0.0), torch.where(moves, way.noisy, 1.0)
        spread = (way.log_variance(self._learned[0].to(torch.promote_types(move.x.dtype, torch.float32))) / 2).exp()
        fresh = over((moves & (move.there > 0)).double(), move.x)
        return over(clean, move.x) * move.x0 + over(noisy, move.x) * move.x + fresh * spread * move.draw()


def _surprise(x0: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Minus the log-likelihood of x0 rounded to 256 values under a normal distribution (DDPM, equation 13), in nats."""
    deviation = (log_variance / 2).exp()
    upper, lower = ((x0 - mean + side) / deviation for side in (BIN, -BIN))
    inside = torch.special.ndtr(upper) - torch.special.ndtr(lower)
    surprise = -inside.clamp_min(1e-12).log()
    surprise = torch.where(x0 < -OUTERMOST, -torch.special.log_ndtr(upper), surprise)
    return torch.where(x0 > OUTERMOST, -torch.special.log_ndtr(-lower), surprise)
