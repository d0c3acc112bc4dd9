"""Many samples of the same pixel made into one: a robust mean, matched to the hole's rim in colour."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.motion.completion import pull_push
from framefill.motion.sources import Source, Target, spread_error

FLOOR = 4.0  # levels; noise below which a smaller rim error says nothing more
TRUST = 1.0  # power of the inverse error
OUTLIER = 80.0  # levels (over three channels) at which a sample that departs from the mean loses most of its say
ROUNDS = 2
LEAST = np.float32(1e-30)
GATE = 1.5  # a source is taken where its expected square error is below this share of a smooth fill's
AGREEING, AGREED = 3, 16.0  # so many sources that differ by no more than this (levels over three channels) are believed anyway
SMOOTH_CAP = 80.0
SMOOTH_WIDTH = 8.0  # pixels; standard deviation of the blur that stands for a smooth fill on the rim
STEP_CAP = 20.0  # levels; a larger jump at the rim is something that is there, not a change of light
CHUNK = 1 << 12  # pixels fused at a time: what is worked on stays in the cache


@dataclass(frozen=True)
class Fused:
    """`picture` float32 h w 3, valid where `seen` (bool h w)."""

    picture: NDArray[np.float32]
    seen: NDArray[np.bool_]


def fuse(sources: list[Source], target: Target) -> Fused:
    """Make one picture of many sources: a mean weighted by nearness and by fit to the rim, in which samples that stand apart fade out.

    Pixels where even the best source fits the rim worse than a smooth fill would, and the sources do not agree, are left unseen.
    """
    height, width = target.unknown.shape
    picture, seen = target.picture.astype(np.float32), np.zeros((height, width), np.bool_)
    if not sources:
        return Fused(picture, seen)
    near = cv2.dilate(target.unknown.view(np.uint8), np.ones((7, 7), np.uint8)).view(np.bool_)
    rows, columns = np.nonzero(near)
    bad = smooth_error(target) * GATE
    for start in range(0, len(rows), CHUNK):
        place = rows[start : start + CHUNK], columns[start : start + CHUNK]
        errors = np.stack([source.error[place] for source in sources])
        weights = np.stack([source.usable[place] * np.float32(source.nearness) for source in sources])
        usable = weights > 0
        best = np.where(usable, errors, np.inf).min(0)
        weights *= (errors + FLOOR * FLOOR) ** -TRUST
        samples = np.stack([source.colours[place].T for source in sources]).astype(np.float32)
        mean, spread = _robust_mean(samples, weights)
        picture[place] = mean.T
        agreed = (usable.sum(0) >= AGREEING) & (spread < AGREED * AGREED)
        seen[place] = usable.any(0) & (agreed | (best <= np.maximum(bad[place], FLOOR * FLOOR)))
    return Fused(picture, seen)


def match_rim(fused: Fused, target: Target, held: NDArray[np.bool_], cap: float = STEP_CAP) -> NDArray[np.float32]:
    """Take the step of colour at the rim out of a fused picture, smoothly over the hole (the correction form of Poisson blending).

    `held` bool h w marks pixels whose final colour stands in `target.picture`; steps above `cap` levels are left as they are.
    Returns float32 h w 3.
    """
    difference = target.picture - fused.picture
    near = cv2.dilate((~held).view(np.uint8), np.ones((7, 7), np.uint8)).view(np.bool_)
    rim = held & fused.seen & near & (np.abs(difference).max(2) < cap)
    if not rim.any():
        return fused.picture
    weight = rim.astype(np.float32)
    share = cv2.GaussianBlur(weight, (0, 0), 1.0)
    step = cv2.GaussianBlur(difference * weight[..., None], (0, 0), 1.0) / np.maximum(share, 1e-3)[..., None]
    return fused.picture + pull_push(step.astype(np.float32), rim)


def smooth_error(target: Target) -> NDArray[np.float32]:
    """Estimate the square error of a smooth fill from the texture of the hole's surroundings: float32 h w, levels^2."""
    known = (~target.unknown).astype(np.float32)
    picture = target.picture.astype(np.float32)
    blurred = cv2.GaussianBlur(picture * known[..., None], (0, 0), SMOOTH_WIDTH)
    blurred /= np.maximum(cv2.GaussianBlur(known, (0, 0), SMOOTH_WIDTH), 1e-3)[..., None]
    return spread_error(((blurred - picture) ** 2).mean(2), ~target.unknown, SMOOTH_CAP)


def _robust_mean(samples: NDArray[np.float32], weights: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean over axis 0 of float32 N 3 n with weights N n, reweighted `ROUNDS` times by distance from the mean; zeros without weight.

    Returns the mean 3 n and the weighted square distance from the mean before the last round, n.
    """
    mean, spread = _mean(samples, weights), np.zeros(weights.shape[1], np.float32)
    for _ in range(ROUNDS):
        away = samples - mean
        np.square(away, out=away)
        distance = away[:, 0] + away[:, 1] + away[:, 2]
        spread = (distance * weights).sum(0) / np.maximum(weights.sum(0), LEAST)
        distance *= np.float32(-0.5 / OUTLIER**2)
        np.exp(distance, out=distance)
        distance += np.float32(1e-6)
        distance *= weights
        mean = _mean(samples, distance)
    return mean, spread


def _mean(samples: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = (samples * weights[:, None]).sum(0) / np.maximum(weights.sum(0), LEAST)
    return mean
