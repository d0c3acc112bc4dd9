"""Loss weights by noise level, all for the squared error of the estimate, |D(x, sigma) - x0|^2.

Each function takes a process and its sigma (B or B T) and gives a weight of the same shape. The network's own output errs by 1 / c_out as
much: `on_output` turns a weight into the one for |net - target|^2. At sigma 0, where D is x and nothing is learnt, every weight is 0.
Sources: Karras et al. 2022 (EDM, arXiv 2206.00364), Hang et al. 2023 (min-SNR, 2303.09556), Choi et al. 2022 (P2, 2204.00227).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from framefill.diffusion.precond import Process

Name = Literal["edm", "min-snr", "p2", "uniform"]


def uniform(process: Process, sigma: Tensor) -> Tensor:
    """1 / c_out^2: every level counts the same on the network's own output (DDPM's simple loss for `eps`, the velocity's for `flow`)."""
    return _unless_clean(sigma, lambda safe: process.scales(safe).c_out ** -2)


def edm(process: Process, sigma: Tensor) -> Tensor:
    """1 / s^2 + 1 / sigma_data^2 with s = b / a: the weight of EDM (table 1, lambda) for any process; for `edm` the same as `uniform`."""
    return _unless_clean(sigma, lambda safe: _snr(process, safe) + process.sigma_data**-2)


def min_snr(process: Process, sigma: Tensor, gamma: float = 5.0) -> Tensor:
    """min(SNR, gamma) (Hang et al., section 3.4): min(SNR, gamma) / SNR on an eps output, min(SNR, gamma) / (SNR + 1) on a v output."""
    return _unless_clean(sigma, lambda safe: _snr(process, safe).clamp_max(gamma))


def p2(process: Process, sigma: Tensor, gamma: float = 1.0, k: float = 1.0) -> Tensor:
    """SNR / (k + SNR)^gamma (Choi et al., equation 8): 1 / (k + SNR)^gamma on an eps output."""
    return _unless_clean(sigma, lambda safe: _snr(process, safe) / (k + _snr(process, safe)) ** gamma)


WEIGHTS: dict[Name, Callable[[Process, Tensor], Tensor]] = {"edm": edm, "min-snr": min_snr, "p2": p2, "uniform": uniform}


def on_output(process: Process, sigma: Tensor, weight: Tensor) -> Tensor:
    """The weight for the squared error of the network's own output that equals `weight` for the estimate's: c_out^2 times it."""
    return weight * process.scales(sigma).c_out ** 2


def _snr(process: Process, sigma: Tensor) -> Tensor:
    signal, share = process.rates(sigma)
    return (signal / share) ** 2


def _unless_clean(sigma: Tensor, weight: Callable[[Tensor], Tensor]) -> Tensor:
    sigma = sigma.to(torch.promote_types(sigma.dtype, torch.float32))
    clean = sigma == 0
    return torch.where(clean, 0.0, weight(torch.where(clean, 1.0, sigma)))
