"""Many samples of the same pixel made into one: a robust mean, matched to the hole's rim in colour."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.motion.completion import pull_push
from framefill.motion.sources import LUMA, Source, Target, rim_error
from framefill.motion.standing import Median

FLOOR = 4.0  # levels; noise below which a smaller rim error says nothing more
TRUST = 1.0  # power of the inverse error
OUTLIER = 80.0  # levels (over three channels) at which a sample that departs from the mean loses most of its say
ROUNDS = 2
LEAST = np.float32(1e-30)
# Nearness of the median where the camera stands. With 0, 0.3, 1 and the mean drawn half-way to it, on schoolgirls and on vtest under large
# moving boxes: 22.43, 22.45, 22.21 and 16.50, 17.79, 17.74 dB in the hole (the temporal median itself: 21.13 and 17.43).
MEDIAN = 0.3
GATE = 1.5  # a source is taken where its expected square error is below this share of a smooth fill's
AGREEING, AGREED = 3, 16.0  # so many sources that differ by no more than this (levels over three channels) are believed anyway
SMOOTH_CAP = 80.0
STEP_CAP = 20.0  # levels; a larger jump at the rim is something that is there, not a change of light
CHUNK = 1 << 11  # pixels fused at a time: what is worked on stays in the cache


def fuse(sources: list[Source], target: Target, median: Median | None = None) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Make one picture of many sources: a mean weighted by nearness and by fit to the rim, in which samples that stand apart fade out.

    Where the camera stands, `median` counts as one more source and moves what samples are held to stand apart from: all near frames may
    show the same passer-by. Returns colours float32 N 3 for the target's points and whether they count as seen, bool N. Points where
    even the best source fits the rim worse than a smooth fill would, and the sources do not agree, are left unseen.
    """
    colours, seen = target.colours.astype(np.float32), np.zeros(len(target.points), np.bool_)
    if not sources:
        return colours, seen
    bad = smooth_error(target) * GATE
    if median is not None:
        sources = [*sources, Source(median.colours, median.known, rim_error(median.colours, target, median.known), MEDIAN)]
    # Two buffers serve all chunks: working in memory that is in use is several times as fast as in fresh memory.
    samples, room = np.empty((2, len(sources), 3, CHUNK), np.float32)
    for start in range(0, len(seen), CHUNK):
        part = slice(start, min(start + CHUNK, len(seen)))
        errors = np.stack([source.error[part] for source in sources])
        weights = np.stack([source.usable[part] * np.float32(source.nearness) for source in sources])
        usable = weights > 0
        best = np.where(usable, errors, np.inf).min(0)
        weights *= (errors + FLOOR * FLOOR) ** -TRUST
        taken, free = samples[..., : part.stop - start], room[..., : part.stop - start]
        for number, source in enumerate(sources):
            taken[number] = source.colours[part].T
        around = None if median is None else (median.colours[part].T, median.known[part])
        mean, spread = _robust_mean(taken, weights, free, around)
        colours[part] = mean.T
        agreed = (usable.sum(0) >= AGREEING) & (spread < AGREED * AGREED)
        seen[part] = usable.any(0) & (agreed | (best <= np.maximum(bad[part], FLOOR * FLOOR)))
    return colours, seen


def match_rim(
    made: NDArray[np.float32], valid: NDArray[np.bool_], truth: NDArray[np.uint8], held: NDArray[np.bool_], cap: float = STEP_CAP
) -> NDArray[np.float32]:
    """Take the step of colour at the rim out of a made picture, smoothly over the hole (the correction form of Poisson blending).

    `made` float32 h w 3, of which `valid` (bool h w) says where it shows anything; `truth` uint8 h w 3, final where `held` (bool h w).
    Steps above `cap` levels are left as they are. Returns float32 h w 3.
    """
    near = cv2.dilate((~held).view(np.uint8), np.ones((7, 7), np.uint8)).view(np.bool_)
    rim = held & valid & near
    if not rim.any():
        return made
    difference = truth - made
    rim &= np.abs(difference).max(2) < cap
    weight = rim.astype(np.float32)
    share = cv2.GaussianBlur(weight, (0, 0), 1.0)
    step = cv2.GaussianBlur(difference * weight[..., None], (0, 0), 1.0) / np.maximum(share, 1e-3)[..., None]
    return made + pull_push(step.astype(np.float32), rim)


def smooth_error(target: Target) -> NDArray[np.float32]:
    """Estimate the square error of a smooth fill from the texture of the hole's surroundings: float32 N, levels^2."""
    cells, known = target.cells, (~target.unknown).astype(np.float32)
    luma = (target.colours.astype(np.float32) @ LUMA) * known
    count, first, second = cells.total(known), cells.total(luma), cells.total(luma * luma)
    share = np.maximum(count, 1e-6)
    variance = np.clip(second / share - (first / share) ** 2, 0, SMOOTH_CAP**2).astype(np.float32)
    return cells.spread(variance * count, count, SMOOTH_CAP**2)


def _robust_mean(
    samples: NDArray[np.float32],
    weights: NDArray[np.float32],
    room: NDArray[np.float32],
    around: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean over axis 0 of float32 S 3 n with weights S n, reweighted `ROUNDS` times by distance from the mean; zeros without weight.

    `around` (3 n, and n where it holds) draws the first mean half-way to itself. `room` is a buffer like `samples`. Returns the mean 3 n
    and the weighted square distance from the mean before the last round, n.
    """
    mean, spread = _mean(samples, weights, room), np.zeros(weights.shape[1], np.float32)
    if around is not None:
        mean = np.where(around[1], (mean + around[0]) / 2, mean)
    for _ in range(ROUNDS):
        np.subtract(samples, mean, out=room)
        np.square(room, out=room)
        distance = room[:, 0] + room[:, 1]
        distance += room[:, 2]
        spread = (distance * weights).sum(0) / np.maximum(weights.sum(0), LEAST)
        distance *= np.float32(-0.5 / OUTLIER**2)
        np.exp(distance, out=distance)
        distance += np.float32(1e-6)
        distance *= weights
        mean = _mean(samples, distance, room)
    return mean, spread


def _mean(samples: NDArray[np.float32], weights: NDArray[np.float32], room: NDArray[np.float32]) -> NDArray[np.float32]:
    np.multiply(samples, weights[:, None], out=room)
    mean: NDArray[np.float32] = room.sum(0) / np.maximum(weights.sum(0), LEAST)
    return mean
