"""How good samples are by the number of network evaluations: few steps of the ODE against many of the ancestral sampler, the same net.

Distances are between sets of clips, in features made from real clips of the same kind alone: a clip's first principal components, and how
much of it lies outside of them, which noise and blur change. That is no FVD, but needs no network's weights and tells samplers apart.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fill import row
from numpy.typing import NDArray

from framefill.data.dataset import SyntheticDataset
from framefill.diffusion.samplers import Method
from framefill.evaluation.metrics.frechet import frechet_distance
from framefill.evaluation.metrics.pixels import mean_psnr, psnr
from framefill.families.trained import SHIPPED
from framefill.families.vdt import VDTPipeline
from framefill.media.video import Frames

SIDE, FRAMES, KNOWN = 32, 8, 2
RUNS: tuple[tuple[Method, int], ...] = (
    ("ancestral", 250),
    ("ancestral", 20),
    ("euler", 20),
    ("dpmpp-2m", 20),
    ("heun", 10),
)
Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """What a clip is described by: `mean` D and orthonormal `axes` K D of real clips, D the numbers of a clip at a quarter of its size."""

    mean: Rows
    axes: Rows

    @classmethod
    def of(cls, clips: Sequence[Frames], count: int = 24) -> Features:
        """The first principal components of real clips."""
        rows = np.stack([_small(clip) for clip in clips])
        mean = rows.mean(0)
        return cls(mean, np.linalg.svd(rows - mean, full_matrices=False)[2][:count])

    def __call__(self, clips: Sequence[Frames]) -> Rows:
        """Features N K+2: the components, and the logarithms of what they leave and of the finest detail."""
        rows = np.stack([_small(clip) for clip in clips]) - self.mean
        parts = rows @ self.axes.T
        left = np.linalg.norm(rows - parts @ self.axes, axis=1)
        fine = np.stack([np.abs(np.diff(clip.astype(np.float64), axis=2)).mean() for clip in clips])
        return np.column_stack([parts, np.log(left + 1e-3), np.log(fine + 1e-3)])


def _small(clip: Frames) -> Rows:
    """A clip T H W 3 at a quarter of its size, one row of numbers in [-1, 1]."""
    T, H, W, C = clip.shape
    return np.asarray(clip.reshape(T, H // 4, 4, W // 4, 4, C).mean((2, 4)).ravel() / 127.5 - 1, np.float64)


def sampling(model: Path = SHIPPED / "vdt-tiny", clips: int = 32) -> None:
    """Prediction of 6 of 8 frames and generation of 8, by each sampler: PSNR, distance to clips held out, network evaluations, time."""
    pipeline = VDTPipeline.from_pretrained(model)
    unseen = SyntheticDataset(1_024 + 2 * clips, FRAMES, SIDE, seed=2**40)
    real = [unseen[number]["video"].numpy() for number in range(len(unseen))]
    features = Features.of(real[: -2 * clips])
    truth, other = features(real[-clips:]), features(real[-2 * clips : -clips])
    apart = frechet_distance(truth, other)
    print(f"{clips} clips of {FRAMES} frames of {SIDE}x{SIDE}; two sets of as many real clips are {apart:.2f} apart.\n")
    row("sampler", "steps", "net evaluations", f"prediction from {KNOWN} frames, dB", "distance", "generation: distance", "s a clip")
    row(*["---"] * 7)
    given = np.stack(real[-clips:])
    for method, steps in RUNS:
        begin, numbers = time.process_time(), []
        for known in (KNOWN, 0):
            mask = np.zeros(given.shape[:-1], np.bool_)
            mask[:, known:] = True
            generators = [torch.Generator().manual_seed(number) for number in range(clips)]
            made = pipeline(given, mask, num_inference_steps=steps, generator=generators, method=method).frames
            if known:
                each = [mean_psnr(psnr(one[known:], own[known:]), "cap") for one, own in zip(made, given, strict=True)]
                numbers.append(float(np.mean(each)))
            numbers.append(frechet_distance(features(list(made)), truth))
        evaluations = 2 * steps - 1 if method == "heun" else steps
        spent = (time.process_time() - begin) / (2 * clips)
        row(method, str(steps), str(evaluations), *(f"{number:.2f}" for number in numbers), f"{spent:.2f}")
