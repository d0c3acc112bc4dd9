"""Smooth completion of a field in a hole from the values around it: the pull-push pyramid and the Laplace equation.

Pull-push: Gortler et al., The Lumigraph, SIGGRAPH 1996. The Laplace equation with the rim as boundary is the membrane of
Perez et al., Poisson Image Editing, SIGGRAPH 2003 (its correction form); here it is solved coarse to fine. Chebyshev's semi-iteration:
Golub and Varga, Numerische Mathematik 3, 1961.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

P = TypeVar("P", np.float32, np.bool_)
Field = NDArray[np.float32]  # H W, or H W C
LEAST = 1e-6
SWEEPS = 6  # relaxation steps a level
RADIUS = 0.97  # bound of Jacobi's spectrum that the semi-iteration is made for; wider waves are left to the coarser levels
FOUR = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)


def pull_push(values: Field, known: NDArray[np.bool_]) -> Field:
    """Fill the unknown part of a field with weighted means of ever wider surroundings.

    `values` float32 H W or H W C, read only where `known` (bool H W); returns float32 of the same shape, equal to `values` where
    known. A field with nothing known comes back as zeros.
    """
    weight = known.astype(np.float32)
    level: Field = values * _spread(weight, values)
    if known.all() or not known.any():
        return level
    pyramid = [(level, weight)]
    while max(weight.shape) > 1 and weight.min() < 1:
        coarse, coarse_weight = np.asarray(cv2.pyrDown(level), np.float32), np.asarray(cv2.pyrDown(weight), np.float32)
        weight = np.minimum(coarse_weight * 4, 1)
        level = coarse * _spread((weight / np.maximum(coarse_weight, LEAST)).astype(np.float32), coarse)
        pyramid.append((level, weight))
    filled: Field = level / _spread(np.maximum(weight, LEAST), level)
    for level, weight in reversed(pyramid[:-1]):
        wide = np.asarray(cv2.pyrUp(filled, dstsize=(weight.shape[1], weight.shape[0])), np.float32)
        filled = level + _spread(1 - weight, level) * wide
    return filled


def membrane(values: Field, hole: NDArray[np.bool_], sweeps: int = SWEEPS) -> Field:
    """Solve the Laplace equation in a hole with the field outside as boundary, coarse to fine.

    `values` float32 H W or H W C, read only outside `hole` (bool H W); returns float32 of the same shape, equal to `values` outside.
    `sweeps` is the number of damped Jacobi steps a level. A field without a boundary comes back as zeros.
    """
    if not hole.any():
        return values
    if hole.all():
        return np.zeros_like(values)
    start = pull_push(values, ~hole)
    height, width = hole.shape
    if min(height, width) >= 8 and hole.sum() > 64:
        half = (width + 1) // 2, (height + 1) // 2
        share = cv2.resize((~hole).astype(np.float32), half, interpolation=cv2.INTER_AREA)
        coarse_hole = share < 0.5
        if not coarse_hole.all() and coarse_hole.any():
            coarse = membrane(np.asarray(cv2.resize(start, half, interpolation=cv2.INTER_AREA), np.float32), coarse_hole, sweeps)
            start = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    inside = _spread(hole, values)
    solved = np.where(inside, start, values).astype(np.float32, copy=False)
    for _ in range(sweeps):
        np.copyto(solved, cv2.filter2D(solved, -1, FOUR, borderType=cv2.BORDER_REPLICATE), where=inside)
    return solved


def harmonic(values: Field, hole: NDArray[np.bool_], level: int = 0) -> Field:
    """Solve the Laplace equation in a hole with the field outside as boundary, nearly to the end: what `membrane` only begins.

    `values` float32 H W or H W C, read only outside `hole` (bool H W); returns float32 of the same shape, equal to `values` outside.
    A field without a boundary comes back as zeros.
    """
    if not hole.any():
        return values
    if hole.all():
        return np.zeros_like(values)
    known = ~hole
    height, width = hole.shape
    seen = values * _spread(known.astype(np.float32), values)
    if height <= 2 and width <= 2:
        mean = seen.sum((0, 1)) / known.sum()
        return np.where(_spread(hole, values), mean, values).astype(np.float32)
    half = (width + 1) // 2, (height + 1) // 2
    share = np.asarray(cv2.resize(known.astype(np.float32), half, interpolation=cv2.INTER_AREA), np.float32)
    coarse = np.asarray(cv2.resize(seen, half, interpolation=cv2.INTER_AREA), np.float32) / _spread(np.maximum(share, LEAST), values)
    enough = share >= 0.5
    wide = harmonic(coarse, ~(enough if enough.any() else share > 0), level + 1)
    spread = np.asarray(cv2.resize(wide, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    inside = _spread(hole, values)
    field = before = np.where(inside, spread, values).astype(np.float32, copy=False)
    for weight in chebyshev(sweeps_at(level)):
        mean = np.asarray(cv2.filter2D(field, -1, FOUR, borderType=cv2.BORDER_REPLICATE), np.float32)
        before, field = field, np.where(inside, before + weight * (mean - before), field)
    return field


def sweeps_at(level: int) -> int:
    """Relaxation steps that a solution nearly to the end takes at a level, 0 the finest."""
    return 12 << min(level, 2)


def chebyshev(sweeps: int) -> Iterator[float]:
    """Yield the weights of a semi-iteration: each new field is the one two steps before, moved by `weight` to Jacobi's mean of the last."""
    weight = 1.0
    for number in range(sweeps):
        yield weight
        weight = 1 / (1 - RADIUS**2 * (0.5 if number == 0 else 0.25 * weight))


def _spread(plane: NDArray[P], like: Field) -> NDArray[P]:
    """Give a plane H W the number of axes of `like`."""
    return plane[..., None] if like.ndim == 3 else plane
