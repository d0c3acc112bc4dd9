"""Averages of weights over a training run: power-function profiles with post-hoc reconstruction, and the ordinary half-life.

Karras et al. 2023, "Analyzing and Improving the Training Dynamics of Diffusion Models" (EDM2, arXiv 2312.02696), section 3 and
appendix C. Time t is counted in samples. A profile of exponent gamma weighs the weights at time tau <= t by
p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1); its width is told as sigma_rel, its standard deviation over t.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from framefill.errors import UsageError
from framefill.training.sharding import copy_into

WIDEST = 0.28  # gamma -> 0 is 1 / sqrt(12) = 0.2887


class Profile(Protocol):
    """How much of an average stays when a step is taken; `name` marks its files."""

    @property
    def name(self) -> str:
        """A short name, fit for a file."""
        ...

    def decay(self, samples: int, step: int) -> float:
        """The share of the old average that stays after a step of `step` samples has brought the run to `samples`."""
        ...


@dataclass(frozen=True)
class Power:
    """The power-function profile of relative width `sigma_rel`, 0 < sigma_rel <= 0.28 (EDM2 shows 0.05 and 0.10)."""

    sigma_rel: float

    def __post_init__(self) -> None:
        if not 0 < self.sigma_rel <= WIDEST:
            raise UsageError(f"EMA width sigma_rel is {self.sigma_rel}, expected above 0 and up to {WIDEST}; EDM2 uses 0.05 and 0.10")

    @property
    def name(self) -> str:
        """Such as `power-0.050`."""
        return f"power-{self.sigma_rel:.3f}"

    def decay(self, samples: int, step: int) -> float:
        """(1 - step / t)^(gamma + 1); 0 at the first step, so that the start's random weights leave no trace."""
        return float((1 - step / samples) ** (exponent_of(self.sigma_rel) + 1))


@dataclass(frozen=True)
class HalfLife:
    """The ordinary exponential average that forgets half in `samples`, or in the share `warmup` of the run so far if that is less.

    Without the warm-up a short run's average would be mostly its random start.
    """

    samples: float
    warmup: float = 0.05

    def __post_init__(self) -> None:
        if self.samples <= 0 or self.warmup <= 0:
            raise UsageError(f"EMA half-life is {self.samples} samples with warm-up {self.warmup}, expected both above 0")

    @property
    def name(self) -> str:
        """Such as `half-life-500000`."""
        return f"half-life-{self.samples:.0f}"

    def decay(self, samples: int, step: int) -> float:
        """2^(-step / half-life), where the half-life is at most `warmup` x the samples before this step; 0 at the first step."""
        half_life = min(self.samples, self.warmup * (samples - step))
        return float(0.5 ** (step / half_life)) if half_life > 0 else 0.0


def exponent_of(sigma_rel: float) -> float:
    """Return the gamma of a relative width: the positive root of (gamma + 2)^2 (gamma + 3) sigma^2 = gamma + 1."""
    inverse = sigma_rel**-2
    roots = np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse])
    return float(np.max(roots[np.abs(roots.imag) < 1e-9].real))


def width_of(gamma: float) -> float:
    """Return the relative width of a profile: sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3))."""
    return float(np.sqrt(gamma + 1) / ((gamma + 2) * np.sqrt(gamma + 3)))


class Average:
    """The average of a module's trainable parameters under one profile, in float32, on the parameters' own device or on `device`."""

    def __init__(self, module: nn.Module, profile: Profile, device: torch.device | None = None) -> None:
        self.profile = profile
        self.weights = {name: p.detach().to(device, torch.float32, copy=True) for name, p in trainable(module).items()}

    @torch.no_grad()
    def update(self, module: nn.Module, samples: int, step: int) -> None:
        """Take in the weights after a step of `step` samples that brought the run to `samples`."""
        keep = self.profile.decay(samples, step)
        now = trainable(module)
        averages = list(self.weights.values())
        torch._foreach_lerp_(averages, [now[name].detach().to(own.device, torch.float32) for name, own in self.weights.items()], 1 - keep)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Put the average in place of the module's weights while the block runs, then the weights back, bit for bit."""
        with replaced(module, self.weights):
            yield

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages by parameter name."""
        return dict(self.weights)

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take averages from a file; raises UsageError when they are not those of this module."""
        if state.keys() != self.weights.keys():
            odd = sorted(state.keys() ^ self.weights.keys())
            raise UsageError(
                f"EMA {self.profile.name} is of another network: {odd[0]} and {len(odd) - 1} more names are in only one of them"
            )
        for name, weight in self.weights.items():
            copy_into(weight, state[name])


@contextmanager
def replaced(module: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Put `weights` in place of a module's trainable parameters while the block runs, then what was there, bit for bit."""
    parameters = trainable(module)
    with torch.no_grad():
        held = {name: p.detach().clone() for name, p in parameters.items()}
        for name, p in parameters.items():
            p.copy_(weights[name])
    try:
        yield
    finally:
        with torch.no_grad():
            for name, p in parameters.items():
                p.copy_(held[name])


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that take gradients, by name, but for those of a module's `opponent`, which is no part of what it makes."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad and not name.startswith("opponent.")}


@dataclass(frozen=True)
class Moment:
    """A profile's place on the time line: an average of relative width `sigma_rel` taken when the run was at `samples`."""

    samples: float
    sigma_rel: float


def inner_product(a: Moment, b: Moment) -> float:
    """Return the integral of the product of two profiles over time, from its closed form.

    With gamma of each: (ga + 1)(gb + 1) / (ga + gb + 1) x min^(ga + gb + 1) / (ta^(ga + 1) tb^(gb + 1)), taken in logarithms.
    """
    ga, gb = exponent_of(a.sigma_rel), exponent_of(b.sigma_rel)
    ta, tb = np.log(a.samples), np.log(b.samples)
    power = (ga + gb + 1) * min(ta, tb) - (ga + 1) * ta - (gb + 1) * tb
    return float((ga + 1) * (gb + 1) / (ga + gb + 1) * np.exp(power))


def reconstruction_weights(stored: Sequence[Moment], wanted: Moment) -> NDArray[np.float64]:
    """Return the share of each stored average whose sum comes nearest, in least squares of profiles, to the wanted one.

    The shares of a wanted profile that can be met sum to about 1. Raises UsageError without a stored average, or when the wanted
    moment is later than the last stored one, of which nothing is known.
    """
    if not stored:
        raise UsageError("no stored EMA to reconstruct from; train with ema.snapshot_every above 0")
    last = max(moment.samples for moment in stored)
    if wanted.samples > last:
        raise UsageError(f"EMA wanted at {wanted.samples:.0f} samples, the last stored one is at {last:.0f}; ask for that or earlier")
    gram = np.array([[inner_product(a, b) for b in stored] for a in stored])
    right = np.array([inner_product(a, wanted) for a in stored])
    # Profiles of one run overlap, so the system is near singular: scaled to a unit diagonal, its small directions are cut.
    scale = 1 / np.sqrt(np.diag(gram))
    return np.asarray(scale * np.linalg.lstsq(gram * np.outer(scale, scale), right * scale, rcond=1e-12)[0])


def reconstruct(stored: Sequence[tuple[Moment, Mapping[str, Tensor]]], wanted: Moment) -> dict[str, Tensor]:
    """Return the weights that an average of any width would have had, from the averages that a run stored; float32, by name."""
    shares = reconstruction_weights([moment for moment, _ in stored], wanted)
    names = stored[0][1].keys()
    return {
        name: torch.stack([float(share) * weights[name].to(torch.float64) for share, (_, weights) in zip(shares, stored, strict=True)])
        .sum(0)
        .to(torch.float32)
        for name in names
    }
