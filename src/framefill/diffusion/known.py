"""What is known stays known: the constraint that turns a sampler of videos into one that fills them.

At every step the estimate is replaced by the known x0, and x by that x0 noised with one and the same noise: the known places move along
the straight path that a perfect denoiser would take, and arrive at x0 itself, bit for bit. (RePaint, arXiv 2201.09865, noises anew at
each step.) What stands in x0 at unknown places is never read into a result.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from framefill.diffusion.precond import Process, over
from framefill.errors import UsageError


@dataclass(frozen=True)
class Keep:
    """The known part of a video: `x0` B T C H W, and `mask` B T 1 H W, in which 0 is known and anything else unknown.

    Raises UsageError for shapes that do not fit.
    """

    x0: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.mask.ndim != self.x0.ndim or any(m not in (1, n) for m, n in zip(self.mask.shape, self.x0.shape, strict=True)):
            raise UsageError(f"mask is {tuple(self.mask.shape)} for x0 {tuple(self.x0.shape)}; pass B T 1 H W for B T C H W")

    @property
    def known(self) -> Tensor:
        """Where x0 is known, bool, of the mask's shape."""
        return self.mask == 0

    def replace(self, estimate: Tensor) -> Tensor:
        """An estimate of x0 with the known places as they are."""
        return torch.where(self.known, self.x0.to(estimate.dtype), estimate)

    def noise_in(self, x: Tensor, sigma: Tensor, process: Process) -> Tensor:
        """The noise n that x holds at `sigma` if its data is x0, (x - a x0) / b: it means something at known places above sigma 0."""
        signal, share = (over(rate, x) for rate in process.rates(sigma))
        return (x - signal * self.x0.to(x.dtype)) / torch.where(share == 0, 1.0, share)

    def impose(self, x: Tensor, noise: Tensor, sigma: Tensor, process: Process) -> Tensor:
        """X at `sigma` with the known places set to x0 noised with `noise`; at sigma 0 to x0 itself."""
        x0 = self.x0.to(x.dtype)
        noised = process.noised(x0, noise, sigma).to(x.dtype)
        at_level = torch.where(over(sigma, x) == 0, x0, noised)  # 0 times the noise would spoil a -0.0, and a NaN in the start
        return torch.where(self.known, at_level, x)

    def frame_sigmas(self, sigmas: Tensor) -> Tensor:
        """A ladder N of levels as N B T, a level for each frame: frames that are known as a whole stand at 0, clean from the first step."""
        whole = self.known.flatten(2).all(2).expand(self.x0.shape[:2])  # b t
        return torch.where(whole.to(sigmas.device), 0.0, sigmas[:, None, None])
