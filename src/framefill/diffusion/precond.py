"""The forward process, and the wrapping that turns a network into a denoiser `D(x, sigma) -> x0`, for four kinds of training.

Every kind mixes data and noise, x = a x0 + b n, at a noise level sigma of its own:

    kind  sigma                                     a                    b                        the network's target
    edm   in [0, inf)                               1                    sigma                    unit-variance residual
    flow  the time t in [0, 1]                      1 - t                t                        n - x0
    eps   sqrt((1 - abar) / abar) of its ladder     1/sqrt(1 + sigma^2)  sigma/sqrt(1 + sigma^2)  n
    v     the same                                  the same             the same                 a n - b x0

sigma is given a sample (B) or a frame (B T). A frame at sigma 0 is clean: there D(x, 0) = x exactly, whatever the network says.
Sources: Karras et al. 2022 (EDM, arXiv 2206.00364), Liu et al. 2022 and Lipman et al. 2022 (2209.03003, 2210.02747), Ho et al. 2020
(2006.11239), Salimans and Ho 2022 (v, 2202.00512); a level for each frame as in Chen et al. 2024 (Diffusion Forcing, 2407.01392).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from framefill.diffusion import noise as random
from framefill.diffusion import sigmas as levels
from framefill.diffusion.noise import Generators
from framefill.diffusion.sigmas import Ladder
from framefill.errors import UsageError

Kind = Literal["eps", "v", "edm", "flow"]
Density = Literal["log-normal", "logit-normal", "uniform"]
FLOW_STEPS = 1000.0  # a network sees the time t as 1000 t: sinusoidal embeddings are made for numbers of that size


class Scales(NamedTuple):
    """D(x) = c_skip x + c_out net(c_in x, c_noise); each of sigma's shape (EDM, equation 7)."""

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor
    c_noise: Tensor


@dataclass(frozen=True, eq=False)
class Process:
    """How data is noised and what a network sees of it; `kind` is one of the table above.

    sigma_data: standard deviation of the data, for `edm` and the loss weight of that name; pixels in [-1, 1] have about 0.5. steps: the
    length of the ladder of `eps` and `v`.
    Raises UsageError for an unknown kind.
    """

    kind: Kind
    sigma_data: float = 0.5
    steps: int = 1000

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UsageError(f"process is {self.kind!r}, expected one of {', '.join(get_args(Kind))}")

    def config(self) -> dict[str, str | float | int]:
        """What to write beside the weights: `Process(**config)` is this process again."""
        return {"kind": self.kind, "sigma_data": self.sigma_data, "steps": self.steps}

    @cached_property
    def ladder(self) -> Ladder:
        """The discrete steps behind `eps` and `v`: DDPM's linear betas."""
        return levels.linear_beta(self.steps)

    def stretch(self, sigma: Tensor) -> Tensor:
        """The factor s, of sigma's shape, for which y = x / s has the noise-free path dy/dsigma = (y - x0) / sigma; b is s sigma."""
        return (1 + sigma**2).rsqrt() if self.kind in ("eps", "v") else torch.ones_like(sigma)

    def rates(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The shares a of data and b of noise at `sigma`, each of sigma's shape."""
        stretch = self.stretch(sigma)
        return 1 - sigma if self.kind == "flow" else stretch, stretch * sigma

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """Mix data and noise (B T C H W) at `sigma` (B or B T); at sigma 0 the data as it is."""
        signal, share = (over(rate, x0) for rate in self.rates(sigma))
        return signal * x0 + share * noise

    def target(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """What the network's own output should be for `noised(x0, noise, sigma)`: (x0 - c_skip x) / c_out, finite at sigma 0 too."""
        if self.kind == "eps":
            return noise
        if self.kind == "flow":
            return noise - x0
        signal, share = (over(rate, x0) for rate in self.rates(sigma))
        if self.kind == "v":
            return signal * noise - share * x0
        spread = self.sigma_data
        return (share * x0 - spread**2 * noise) / (spread * (share**2 + spread**2).sqrt())

    def scales(self, sigma: Tensor) -> Scales:
        """The four factors around the network at `sigma`, in float32 or better.

        c_noise is the ladder's step (`eps`, `v`), ln(sigma) / 4 with sigma held above 0.002 (`edm`, table 1), or 1000 t (`flow`).
        """
        sigma = sigma.to(torch.promote_types(sigma.dtype, torch.float32))
        one = torch.ones_like(sigma)
        signal, share = self.rates(sigma)
        if self.kind == "flow":
            return Scales(one, -share, one, FLOW_STEPS * sigma)
        if self.kind == "eps":
            return Scales(1 / signal, -sigma, one, self.ladder.step(sigma))
        if self.kind == "v":
            return Scales(signal, -share, one, self.ladder.step(sigma))
        total = sigma**2 + self.sigma_data**2
        seen = sigma.clamp_min(levels.SIGMA_MIN).log() / 4
        return Scales(self.sigma_data**2 / total, sigma * self.sigma_data * total.rsqrt(), total.rsqrt(), seen)

    def sigmas(self, steps: int) -> Tensor:
        """The usual ladder down: even times (`flow`), Karras (`edm`), a respaced subset (`eps`, `v`); float64, `steps` + 1 levels, to 0."""
        if self.kind == "flow":
            return levels.uniform_ladder(steps)
        return levels.karras(steps) if self.kind == "edm" else self.ladder.respaced(steps)

    def start(self, noise: Tensor, sigma: Tensor) -> Tensor:
        """Where sampling starts: standard normal `noise` (B T C H W) at the scale of `sigma` (B, B T or one), with no data in it."""
        return over(self.rates(sigma)[1], noise) * noise

    def draw(
        self, shape: Sequence[int], generator: Generators, density: Density = "uniform", mean: float = 0.0, std: float = 1.0
    ) -> Tensor:
        """Noise levels to train on, float32 on the CPU, of `shape` B or B T.

        log-normal, logit-normal: log(b / a) is normal with `mean` and `std`; for `flow` that is SD3's logit-normal t, for `edm` EDM's
        log-normal sigma: two names for one density. `eps` and `v` hold it within their ladder. uniform: even over `flow`'s times, over
        the ladder's steps (`eps`, `v`), over the way down Karras' ladder (`edm`).
        """
        if density not in get_args(Density):
            raise UsageError(f"density is {density!r}, expected one of {', '.join(get_args(Density))}")
        if density != "uniform":
            if self.kind == "flow":
                return levels.logit_normal(shape, generator, mean, std)
            sigma = levels.log_normal(shape, generator, mean, std)
            return sigma if self.kind == "edm" else sigma.clamp(float(self.ladder.sigmas[0]), float(self.ladder.sigmas[-1]))
        if self.kind == "flow":
            return levels.uniform(shape, generator)
        if self.kind == "edm":
            return levels.karras_at(random.uniform(shape, generator))
        return self.ladder.sigmas.float()[(random.uniform(shape, generator) * self.steps).long()]


@dataclass(frozen=True)
class Precond:
    """A network as a denoiser: `Precond(net, process)(x, sigma, **cond) -> x0`, for x B T C H W and sigma B or B T.

    `net(c_in x, c_noise, **cond)` is called with c_noise of sigma's shape and gives what x is shaped like. `dtype` is what it is fed
    (None: as x comes); the estimate is put together in float32 or better.
    """

    net: Callable[..., Tensor]
    process: Process
    dtype: torch.dtype | None = None

    def __call__(self, x: Tensor, sigma: Tensor, **cond: Tensor | None) -> Tensor:
        """Estimate the clean x0, B T C H W. Raises UsageError for a sigma that is neither B nor B T."""
        scales = self.process.scales(sigma)
        c_skip, c_out, c_in = (over(scale, x) for scale in scales[:3])
        output = self.net((c_in * x).to(self.dtype or x.dtype), scales.c_noise, **cond)
        return c_skip * x + c_out * output


def over(value: Tensor, x: Tensor) -> Tensor:
    """A value a sample (B) or a frame (B T), or just one, laid over x B T C H W on x's device, in float64 only if x is.

    Raises UsageError for other shapes.
    """
    if value.shape != x.shape[: value.ndim] or value.ndim > 2:
        raise UsageError(f"noise level is {tuple(value.shape)} for x {tuple(x.shape)}; pass one a sample (B) or a frame (B T)")
    if value.dtype == torch.float64 and x.dtype != torch.float64:
        value = value.float()  # not every device has float64
    return value.to(x.device).reshape(value.shape + (1,) * (x.ndim - value.ndim))
