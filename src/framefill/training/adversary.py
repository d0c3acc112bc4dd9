"""A judge to train against: it learns to tell fills from the truth, the net learns to be taken for real (GAN, after L1 is learnt).

Hinge loss (Lim and Ye, arXiv 1705.02894), for the judge within the hole only; the weight of the net's side follows its gradients (Esser et
al., Taming transformers, arXiv 2012.09841, equation 7; here both where the fill leaves the net, so that any net will do).
Set out as in iw3's trainer (nunif, MIT), but the warm-up is counted in samples, and judge, optimiser and weight are kept on resume.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from framefill.nets.discriminator import DISCRIMINATORS, STRIDE
from framefill.training.config import AdversaryConfig
from framefill.training.dataflow import draw_seed

JUDGED, NOISES, WEIGHTS = 7, 8, 9  # more of a sample's draws; the last is of the judge's own start
BORDER = 2  # cells at a picture's edge that are not counted: half of what they see is padding
NOISE = 0.25 / 255  # on both sides, so that the truth is not known by its 256 levels
RAMP = 4.0  # of the warm-up's exponential
SILENT = 0.1  # of the warm-up: below, the net does not listen yet
MEMORY = 0.99  # of the balance
LEAST, MOST = 1e-3, 10.0  # of the balance


class Adversary(nn.Module):
    """A judge and the balance of its weight; all of its state is in its parameters and buffers."""

    balance: Tensor

    def __init__(self, config: AdversaryConfig, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(draw_seed(seed, WEIGHTS))
            self.judge = DISCRIMINATORS[config.kind]()
        self.register_buffer("balance", torch.tensor(-1.0))  # none yet
        self._config, self._seed = config, seed

    def forward(
        self, made: Tensor, truth: Tensor, hole: Tensor, learnt: Tensor, positions: Sequence[int]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return what the net descends beside `learnt` (its own loss), what the judge descends, and numbers for the journal.

        made, truth: B T 3 H W in [0, 1]; hole: B T 1 H W. positions: B, of the samples; the first says how far the warm-up is.
        """
        chosen = [self._frames(position, made.shape[1]) for position in positions]
        fills, real, holes = (_frames_of(clip, chosen) for clip in (made, truth, hole))
        generator = torch.Generator().manual_seed(draw_seed(self._seed, positions[0], NOISES))
        noise = (torch.randn(real.shape, generator=generator) * NOISE).to(real)
        shown = fills + (fills.clamp(0, 1) - fills).detach() + noise
        cells = _inner(_cells(holes))
        doubted = functional.relu(1 - self.judge(real + noise, real)), functional.relu(1 + self.judge(shown.detach(), real))
        caught = (_mean_over(_inner(doubted[0]), cells) + _mean_over(_inner(doubted[1]), cells)) / 2
        with _still(self.judge):
            fooled = -_inner(self.judge(shown, real)).mean()
        self._weigh(learnt, fooled, made)
        weight = self._config.weight * self.balance.clone() * warmed(positions[0], self._config.warmup)
        return fooled * weight, caught, {"fooled": fooled.detach(), "caught": caught.detach(), "weight": weight}

    def _frames(self, position: int, T: int) -> Tensor:
        """Draw which of T frames of a sample are judged, in order."""
        generator = torch.Generator().manual_seed(draw_seed(self._seed, position, JUDGED))
        return torch.randperm(T, generator=generator)[: min(self._config.frames or T, T)].sort().values

    @torch.no_grad()
    def _weigh(self, learnt: Tensor, fooled: Tensor, made: Tensor) -> None:
        """Bring the balance nearer to the ratio of the two gradients' lengths at the fill."""
        ours, theirs = (torch.autograd.grad(loss, made, retain_graph=True)[0].norm() for loss in (learnt, fooled))
        ratio = (ours / theirs.clamp_min(1e-12)).clamp(LEAST, MOST)
        self.balance.copy_(torch.where(self.balance < 0, ratio, MEMORY * self.balance + (1 - MEMORY) * ratio))


def warmed(samples: int, warmup: int) -> float:
    """Return the share 0 to 1 of the judge's weight after `samples`: (e^(4t) - 1) / (e^4 - 1) over the warm-up, 0 while below 0.1."""
    done = min(1.0, samples / warmup) if warmup else 1.0
    share = math.expm1(RAMP * done) / math.expm1(RAMP)
    return share if share >= SILENT else 0.0


def _frames_of(clip: Tensor, chosen: Sequence[Tensor]) -> Tensor:
    """Return the chosen frames of clips B T C H W as pictures N C H W."""
    frames = torch.stack(list(chosen)).to(clip.device)
    return clip[torch.arange(len(clip), device=clip.device)[:, None], frames].flatten(0, 1)


def _cells(hole: Tensor) -> Tensor:
    """The cells of the answer that the hole touches, and those around that see much of it."""
    cells = functional.max_pool2d(hole, STRIDE)
    for _ in range(cells.shape[-2] // 8 + 1):
        cells = functional.max_pool2d(cells, 3, 1, 1)
    return cells


def _inner(cells: Tensor) -> Tensor:
    rows, columns = (min(BORDER, (side - 1) // 2) for side in cells.shape[-2:])
    return cells[..., rows : cells.shape[-2] - rows, columns : cells.shape[-1] - columns]


def _mean_over(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / where.sum().clamp_min(1.0)


@contextmanager
def _still(judge: nn.Module) -> Iterator[None]:
    """Let no gradient reach the judge's own weights from what is computed in the block."""
    judge.requires_grad_(False)
    try:
        yield
    finally:
        judge.requires_grad_(True)
