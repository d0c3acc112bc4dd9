"""Whether one model beats another on the same clips: paired differences with an interval and a sign-flip permutation test.

If the two models were alike, each clip's difference could as well have had the other sign (Fisher, The design of experiments,
1935, chapter III).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.evaluation.metrics.arrays import Array, numpy_of
from framefill.evaluation.metrics.intervals import mean_interval

EXACT = 16  # pairs up to which all 2^n signs are tried
FLIPS = 100_000  # random signs beyond
PORTION = 4096  # signs tried at a time, which bounds the memory


@dataclass(frozen=True)
class Paired:
    """Two models on the same clips: the mean of `other - one` with its bounds, the two-sided p value, and how often each was higher.

    `clips` were compared; `left_out` had no finite difference (a metric not defined there, or a perfect frame's infinite PSNR). `exact`
    says that all signs were tried. All numbers are nan with no clip; the bounds are with one.
    """

    difference: float
    low: float
    high: float
    p_value: float
    clips: int
    left_out: int
    higher: int
    lower: int
    exact: bool


def paired(one: Array, other: Array, seed: int, *, level: float = 0.95, resamples: int = 2000) -> Paired:
    """Return how `other` differs from `one`, one value a clip in the same order, with a bootstrap interval and a permutation test.

    Raises UsageError where the numbers of clips differ.
    """
    first, second = (numpy_of(values).astype(np.float64).ravel() for values in (one, other))
    if first.shape != second.shape:
        raise UsageError(f"paired values belong to the same clips; came {first.size} and {second.size}")
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        differences = second - first
    known = differences[np.isfinite(differences)]
    interval = mean_interval(known, seed, level=level, resamples=resamples)
    return Paired(
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        p_value=sign_flip_test(known, seed),
        clips=known.size,
        left_out=differences.size - known.size,
        higher=int((known > 0).sum()),
        lower=int((known < 0).sum()),
        exact=known.size <= EXACT,
    )


def sign_flip_test(differences: NDArray[np.float64], seed: int) -> float:
    """Return the two-sided p value of the mean of paired differences: the share of sign patterns whose mean lies as far from 0 or farther.

    Exact up to 16 pairs, whose smallest p is 2 / 2^n: five clips cannot reach 0.05. Beyond, 100,000 random patterns and the observed one.
    No difference gives nan.
    """
    count = differences.size
    if not count:
        return float("nan")
    # Sums that are equal but for the order of their rounding count as equal.
    least = abs(differences.sum()) - 1e-9 * np.abs(differences).sum()
    if count <= EXACT:
        patterns = np.arange(2**count)
        reached = sum(
            _reaching(_signs_of(patterns[start : start + PORTION], count), differences, least) for start in range(0, 2**count, PORTION)
        )
        return float(reached / 2**count)
    generator = np.random.default_rng(seed)
    reached = 0
    for start in range(0, FLIPS, PORTION):
        signs = generator.integers(2, size=(min(PORTION, FLIPS - start), count), dtype=np.int8)
        reached += _reaching(signs, differences, least)
    return (1 + reached) / (1 + FLIPS)


def _signs_of(patterns: NDArray[np.int64], count: int) -> NDArray[np.int8]:
    return ((patterns[:, None] >> np.arange(count)) & 1).astype(np.int8)


def _reaching(signs: NDArray[np.int8], differences: NDArray[np.float64], least: float) -> int:
    return int((np.abs((2 * signs - 1) @ differences) >= least).sum())
