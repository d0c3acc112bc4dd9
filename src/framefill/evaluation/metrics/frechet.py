"""Distances between two sets of clips in a network's features: Frechet (FVD, VFID, FID) and kernel (KVD, KID), and how sure they are.

Frechet distance of two Gaussians: Dowson and Landau, 1982; FID: Heusel et al., NeurIPS 2017; FVD and KVD: Unterthiner et al.,
Towards accurate generative models of video, 2018; KID: Binkowski et al., Demystifying MMD GANs, ICLR 2018.

The trace term is computed without a matrix root. With covariances A'A and B'B (A: features minus their mean, over the root of N - 1),
trace((A'A B'B)^(1/2)) is the sum of the singular values of A B'. It is real by construction, needs no regularisation with fewer clips than
dimensions, where SciPy's root of the singular product has an imaginary part, and then costs a decomposition of N x N instead of D x D.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.evaluation.metrics.arrays import Array, finite_rows

Rows = NDArray[np.float64]  # N D


@dataclass(frozen=True)
class Statistics:
    """A Gaussian: `mean` D, and `root` r D with root' root = covariance, r <= D; `count`: of how many rows, if known."""

    mean: NDArray[np.float64]
    root: NDArray[np.float64]
    count: int | None = None

    @classmethod
    def from_moments(cls, mean: NDArray[np.float64], covariance: NDArray[np.float64]) -> Statistics:
        """Take a stored mean (D) and covariance (D D); negative eigenvalues, which rounding leaves behind, count as 0."""
        if covariance.shape != (mean.size, mean.size):
            raise UsageError(f"a mean of {mean.size} numbers needs a covariance of {mean.size}x{mean.size}; came {covariance.shape}")
        values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
        return cls(mean, np.sqrt(np.maximum(values, 0))[:, None] * vectors.T)


def statistics(features: Array) -> Statistics:
    """Return mean and covariance (unbiased, over N - 1, as np.cov) of features N D, in float64. Raises UsageError below two rows."""
    rows = finite_rows(features, least=2)
    mean = rows.mean(axis=0)
    centred = (rows - mean) / np.sqrt(len(rows) - 1)
    if len(rows) > rows.shape[1]:
        centred = np.linalg.qr(centred, mode="r")
    return Statistics(mean, centred, len(rows))


def frechet_distance(one: Array | Statistics, other: Array | Statistics) -> float:
    """Return the squared Frechet distance |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of two sets of features.

    Each is N D, or the `statistics` of such. It is 0 for equal sets, symmetric, never negative, and defined for any number of rows from
    two on; with fewer than dimensions it is far above what more clips would give (`few_samples`). Raises UsageError for
    features of different widths.
    """
    first, second = (given if isinstance(given, Statistics) else statistics(given) for given in (one, other))
    if first.mean.size != second.mean.size:
        raise UsageError(f"features of one network are compared; came {first.mean.size} and {second.mean.size} dimensions")
    shift = first.mean - second.mean
    shared = np.linalg.svd(first.root @ second.root.T, compute_uv=False).sum()
    distance = shift @ shift + np.square(first.root).sum() + np.square(second.root).sum() - 2 * shared
    return max(float(distance), 0.0)  # equal sets leave a rounding error of either sign


def kernel_distance(one: Array, other: Array) -> float:
    """Return the unbiased squared maximum mean discrepancy of two sets of features (N D, M D) under the kernel (x.y / D + 1)^3.

    KVD on I3D's logits, KID on Inception's features. Its expectation is 0 for sets of one distribution whatever the number of rows, so
    single values may be negative. Raises UsageError for fewer than two rows or different widths.
    """
    x, y = finite_rows(one, least=2), finite_rows(other, least=2)
    if x.shape[1] != y.shape[1]:
        raise UsageError(f"features of one network are compared; came {x.shape[1]} and {y.shape[1]} dimensions")
    return _within(x) + _within(y) - 2 * float(_kernel(x, y).mean())


def split_half(features: Array, seed: int, distance: Callable[[Rows, Rows], float] = frechet_distance, repeats: int = 10) -> float:
    """Return the mean distance between two random halves of one set of features (N D): the noise floor of a distance to that set.

    Nothing below it says anything. The halves hold half the rows (one is left out of an odd number), so that the floor is a little high for
    the whole set. Raises UsageError for fewer than four rows.
    """
    rows = finite_rows(features, least=4)
    generator = np.random.default_rng(seed)
    half = len(rows) // 2
    values = []
    for _ in range(repeats):
        order = generator.permutation(len(rows))
        values.append(distance(rows[order[:half]], rows[order[half : 2 * half]]))
    return float(np.mean(values))


def few_samples(clips: int, dimensions: int) -> str | None:
    """Return the warning that belongs beside a Frechet distance of fewer clips than feature dimensions, else None."""
    if clips > dimensions:
        return None
    return (
        f"{clips} clips for {dimensions} feature dimensions: the covariance is not of full rank and the distance is biased upward; "
        "compare only with numbers from as many clips, or look at the kernel distance"
    )


def _kernel(x: Rows, y: Rows) -> Rows:
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def _within(x: Rows) -> float:
    kernel = _kernel(x, x)
    return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))
