"""Whether generated clips differ from one another and from the training set, by distances of features or of pixels.

The ratio of the two nearest distances as a sign of memorisation: Yoon et al., Diffusion probabilistic models generalize when they fail to
memorize, 2023, which calls a sample memorised below 1/3.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.evaluation.metrics.arrays import Array, finite_rows

MEMORISED = 1 / 3  # Yoon et al. 2023
ROWS = 256  # rows compared at a time, which bounds the memory


class Neighbours(NamedTuple):
    """For each generated row its nearest training row: `nearest`, `distance`, and its `ratio` to the second nearest's (0 .. 1)."""

    nearest: NDArray[np.intp]
    distance: NDArray[np.float64]
    ratio: NDArray[np.float64]


def diversity(features: Array) -> float:
    """Return the mean Euclidean distance between any two of a set of rows (N D); 0 where all are alike, nan for one row."""
    rows = finite_rows(features)
    pairs = len(rows) * (len(rows) - 1)
    total = sum(float(_distances(rows[start : start + ROWS], rows).sum()) for start in range(0, len(rows), ROWS))
    return total / pairs if pairs else float("nan")


def nearest_neighbours(generated: Array, training: Array) -> Neighbours:
    """Return for each generated row (N D) the training row (M D) nearest to it, by Euclidean distance of features or of pixels.

    `ratio` near 0 is a copy of one training clip, near 1 something as far from its nearest as from its second nearest; it is nan with a
    single training row and 0 for an exact copy. Raises UsageError for rows of different widths.
    """
    rows, known = finite_rows(generated), finite_rows(training)
    if rows.shape[1] != known.shape[1]:
        raise UsageError(f"generated and training rows are of one kind; came {rows.shape[1]} and {known.shape[1]} columns")
    parts = [_nearest(rows[start : start + ROWS], known) for start in range(0, len(rows), ROWS)]
    return Neighbours(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def memorised(neighbours: Neighbours, threshold: float = MEMORISED) -> float:
    """Return the share of generated rows, 0 .. 1, that are nearer to one training row than `threshold` times the next nearest."""
    return float((neighbours.ratio < threshold).mean())


def _nearest(rows: NDArray[np.float64], known: NDArray[np.float64]) -> Neighbours:
    distances = _distances(rows, known)
    index = distances.argmin(axis=1)
    nearest = np.take_along_axis(distances, index[:, None], axis=1)[:, 0]
    if len(known) < 2:
        return Neighbours(index, nearest, np.full(len(rows), np.nan))
    second = np.partition(distances, 1, axis=1)[:, 1]
    # A training set may hold one clip twice: a copy of it is a copy.
    return Neighbours(index, nearest, np.divide(nearest, second, out=np.zeros_like(nearest), where=second > 0))


def _distances(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    # By differences, row by row: |x|^2 + |y|^2 - 2 x.y loses the small distances that tell a copy from a neighbour.
    return np.stack([np.linalg.norm(other - row, axis=1) for row in one])
