"""Samplers: from noise to data down a ladder of noise levels, as plain functions of a denoiser `D(x, sigma) -> x0`.

All of them are one form, x' = p x + q x0 plus something small, in the rates a, b of the process at the two levels:

    euler, flow-euler  p = b'/b, q = a' - p a: the exact path if x0 stood still; for `flow` it is x + (t' - t) v (Liu et al., 2209.03003)
    heun               euler, plus what the estimate at the next level says better (EDM, arXiv 2206.00364, algorithm 1)
    dpmpp-2m           euler on an estimate extrapolated from the last two (Lu et al. 2022, 2211.01095, algorithm 2)
    ddim(eta)          part of the noise drawn anew (Song et al. 2020, 2010.02502, equations 12 and 16); eta 0 is euler
    ancestral          ddim with eta 1: DDPM's posterior (Ho et al. 2020, 2006.11239, equation 7)

Levels may differ by sample and by frame; a frame whose level does not change in a step keeps its bits. Gradients are the caller's matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from framefill.diffusion import noise
from framefill.diffusion.guidance import Denoise, Guide
from framefill.diffusion.known import Keep
from framefill.diffusion.noise import Generators
from framefill.diffusion.precond import Process, over
from framefill.errors import UsageError

Method = Literal["euler", "heun", "dpmpp-2m", "ddim", "ancestral", "flow-euler"]
Callback: TypeAlias = Callable[[int, Tensor, Tensor, Tensor], None]  # (step, sigma after it, x after it, x0 estimated in it)


@dataclass(frozen=True)
class Move:
    """One step: from x at level `here`, with its estimate x0, to level `there`; both float64 on the CPU, B or B T."""

    process: Process
    x: Tensor
    x0: Tensor
    here: Tensor
    there: Tensor
    before: tuple[Tensor, Tensor] | None  # x0 and level of the step before
    estimate: Callable[[Tensor, Tensor], Tensor]  # x0 from another x at another level
    draw: Callable[[], Tensor]  # standard normal noise like x


Step: TypeAlias = Callable[[Move], Tensor]


def sample(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    process: Process,
    method: Method | Step = "euler",
    guide: Guide | None = None,
    keep: Keep | None = None,
    generator: Generators | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Take x (B T C H W, at level `sigmas[0]`) down the ladder `sigmas` (N, N B or N B T, falling or level) and return it at the last.

    `denoise(x, sigma)` sees sigma B or B T, in float32 or as precise as x. method: a name, or a step such as `ddim(eta=0.5)`. keep: known
    places, re-imposed at every step; they keep the noise that the starting x holds there, and are exact at level 0. generator: for ddim
    with eta and ancestral; one for the batch, or one a sample, which makes a batch equal its singles. callback: called after each step.
    Raises UsageError for an unknown method, a ladder that rises or does not fit, and noise that has no generator.
    """
    step = _step(method, process)
    ladder = _ladder(sigmas, x, process)
    dtype, precise = x.dtype, torch.promote_types(x.dtype, torch.float32)

    def estimate(x: Tensor, sigma: Tensor) -> Tensor:
        x, sigma = x.to(dtype), sigma.to(precise).to(x.device)
        x0 = denoise(x, sigma)
        x0 = guide(x, sigma, x0) if guide else x0
        return keep.replace(x0) if keep else x0

    def draw() -> Tensor:
        if generator is None:
            raise UsageError(f"method {method!r} draws noise and has no generator; pass generator=torch.Generator().manual_seed(...)")
        return noise.normal(x.shape, generator, x.device).to(precise)

    held = keep.noise_in(x, ladder[0], process) if keep else None

    def imposed(x: Tensor, sigma: Tensor) -> Tensor:
        return keep.impose(x, held, sigma, process) if keep else x

    x = imposed(x, ladder[0])
    before: tuple[Tensor, Tensor] | None = None
    for index, (here, there) in enumerate(pairwise(ladder)):
        x0 = estimate(x, here)
        move = Move(process, x, x0, here, there, before, estimate, draw)
        x = imposed(step(move).to(dtype), there)
        before = (x0, here)
        if callback:
            callback(index, there, x, x0)
    return x


def invert(denoise: Denoise, x0: Tensor, sigmas: Tensor, *, process: Process, refine: int = 0) -> Tensor:
    """The noise-free path backwards: from x0 to the x at level `sigmas[0]` from which `sample` with euler comes back to it.

    `sigmas` is the ladder that `sample` takes (N, N B or N B T). A step up takes the estimate at its lower end, so the way back errs by
    the first power of the step; where the ladder ends in 0, x0 is taken to stand noise-free at the level above. refine: fixed-point
    iterations a step, each one estimate at the upper end, towards the exact inverse of the euler step.
    Raises UsageError for a ladder that rises or does not fit.
    """
    ladder = _ladder(sigmas, x0, process)

    def estimate(x: Tensor, sigma: Tensor) -> Tensor:
        return denoise(x.to(x0.dtype), sigma.to(torch.promote_types(x0.dtype, torch.float32)).to(x.device))

    x = x0
    for here, there in zip(reversed(ladder[1:]), reversed(ladder[:-1]), strict=True):
        (a, b), (a_up, b_up) = process.rates(here), process.rates(there)
        ratio = torch.where(b > 0, b_up / _safe(b), a_up)  # off level 0: x0 alone, at its share
        up = _mix(x, ratio, a_up - ratio * a, estimate(x, here)) if (b > 0).any() else _scaled(x, ratio)
        # In y = x / s the euler step down is y_here = y - (1 - here/there) (y - D(y, there)): solved for y with the last D.
        gain, back = process.stretch(there), process.stretch(there) / process.stretch(here)
        share = torch.where(there > 0, 1 - here / _safe(there), 0.0)
        for _ in range(refine):
            up = _scaled(x, back) + _scaled(up, share) - _scaled(estimate(up, there), share * gain)
        x = up.to(x0.dtype)
    return x


def euler(move: Move) -> Tensor:
    """One step along the straight line from x through the estimate, in the coordinate in which the process adds noise."""
    return _mix(move.x, *_euler_shares(move), move.x0)


def heun(move: Move) -> Tensor:
    """One Euler step, bent by the estimate at its end: in y = x / s, h/2 (D' - D) / there. The step to 0 is Euler's alone."""
    ahead = euler(move)
    if not (move.there > 0).any():
        return ahead
    bend = torch.where(move.there > 0, (move.here / _safe(move.there) - 1) / 2, 0.0) * move.process.stretch(move.there)
    return ahead + _scaled(move.estimate(ahead, move.there) - move.x0, bend)


def dpmpp_2m(move: Move) -> Tensor:
    """One Euler step on D + h / (2 h_before) (D - D_before), h steps in log(a / b); Euler alone first, last, and after standing still."""
    if move.before is None:
        return euler(move)
    last, level = move.before
    log_snr = [torch.log(a) - torch.log(b) for a, b in map(move.process.rates, (level, move.here, move.there))]
    past, coming = log_snr[1] - log_snr[0], log_snr[2] - log_snr[1]
    usable = (past > 0) & past.isfinite() & (coming > 0) & coming.isfinite()
    ahead = torch.where(usable, coming / torch.where(usable, 2 * past, 1.0), 0.0)
    return _mix(move.x, *_euler_shares(move), move.x0 + _scaled(move.x0 - last, ahead))


def ddim(eta: float = 0.0) -> Step:
    """A step that draws part of the noise anew: none for eta 0 (the noise-free path), DDPM's posterior for eta 1; any eta 0 .. 1.

    Raises UsageError for another eta.
    """
    if not 0 <= eta <= 1:
        raise UsageError(f"eta is {eta}, expected 0 (no new noise) .. 1 (DDPM's)")

    def step(move: Move) -> Tensor:
        if eta == 0:
            return euler(move)
        (a, b), (a_down, b_down) = move.process.rates(move.here), move.process.rates(move.there)
        ratio = torch.where(move.here > move.there, a * b_down / _safe(a_down * b), 1.0)  # still: no new noise
        fresh = eta * b_down * (1 - ratio**2).clamp_min(0).sqrt()
        kept = torch.where(b > 0, (b_down**2 - fresh**2).clamp_min(0).sqrt() / _safe(b), 1.0)
        return _mix(move.x, kept, a_down - kept * a, move.x0) + _scaled(move.draw(), fresh)

    return step


STEPS: dict[Method, Step] = {
    "euler": euler,
    "flow-euler": euler,
    "heun": heun,
    "dpmpp-2m": dpmpp_2m,
    "ddim": ddim(eta=0.0),
    "ancestral": ddim(eta=1.0),
}


def _step(method: Method | Step, process: Process) -> Step:
    if not isinstance(method, str):
        return method
    if method not in STEPS:
        raise UsageError(f"method is {method!r}, expected one of {', '.join(get_args(Method))}")
    if method == "flow-euler" and process.kind != "flow":
        raise UsageError(f"method flow-euler came with process {process.kind!r}; pass euler, or process flow")
    return STEPS[method]


def _ladder(sigmas: Tensor, x: Tensor, process: Process) -> Tensor:
    """The levels as float64 on the CPU, N B or N B T: on the CPU no step waits for the device, in float64 no step loses its share."""
    ladder = sigmas.detach().to("cpu", torch.float64)
    if ladder.ndim == 1:
        ladder = ladder[:, None].expand(-1, len(x))
    if ladder.ndim not in (2, 3) or len(ladder) < 2 or ladder.shape[1:] != x.shape[: ladder.ndim - 1]:
        raise UsageError(f"ladder is {tuple(sigmas.shape)} for x {tuple(x.shape)}; pass 2 or more levels, as N, N B or N B T")
    top = 1.0 if process.kind == "flow" else float("inf")
    if not ((ladder[1:] <= ladder[:-1]).all() and (ladder >= 0).all() and (ladder <= top).all()):
        raise UsageError(f"ladder goes from {ladder[0].max():g} to {ladder[-1].min():g}; levels must fall and stay within 0 .. {top:g}")
    return ladder


def _euler_shares(move: Move) -> tuple[Tensor, Tensor]:
    """P and q of x' = p x + q x0: exactly 1 and 0 for a level that stands still."""
    (a, b), (a_down, b_down) = move.process.rates(move.here), move.process.rates(move.there)
    ratio = torch.where(b > 0, b_down / _safe(b), 1.0)
    return ratio, a_down - ratio * a


def _mix(x: Tensor, p: Tensor, q: Tensor, x0: Tensor) -> Tensor:
    return _scaled(x, p) + _scaled(x0, q)


def _scaled(x: Tensor, factor: Tensor) -> Tensor:
    return x * over(factor, x)


def _safe(divisor: Tensor) -> Tensor:
    return torch.where(divisor == 0, 1.0, divisor)
