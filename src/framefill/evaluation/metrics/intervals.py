"""How far a number would move with other clips: bootstrap intervals over clips.

Efron and Tibshirani, An introduction to the bootstrap, 1993, chapters 10 (bias) and 13 (percentiles).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.evaluation.metrics.arrays import Array, numpy_of

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value and the bounds of its confidence interval; the bounds are nan where one clip gives no idea of the spread."""

    value: float
    low: float
    high: float


def mean_interval(values: Array, seed: int, *, level: float = 0.95, resamples: int = 2000) -> Interval:
    """Return the mean of one value a clip, and the percentile interval of the mean of as many clips drawn with replacement.

    nan (clips for which the metric is not defined) is left out; all nan gives nan. Raises UsageError for a level outside 0 .. 1.
    """
    known = numpy_of(values).astype(np.float64).ravel()
    known = known[~np.isnan(known)]
    _check(level, resamples)
    if known.size < 2:
        return Interval(float(known[0]) if known.size else float("nan"), float("nan"), float("nan"))
    drawn = np.random.default_rng(seed).integers(known.size, size=(resamples, known.size))
    low, high = np.quantile(known[drawn].mean(axis=1), _tails(level), method="inverted_cdf")
    return Interval(float(known.mean()), float(low), float(high))


def bootstrap_interval(
    samples: Array | tuple[Array, ...],
    statistic: Callable[..., float],
    seed: int,
    *,
    level: float = 0.95,
    resamples: int = 200,
) -> Interval:
    """Return a statistic of one or several sets of clips, and its interval under drawing each set's rows anew with replacement.

    `statistic` takes as many arrays as `samples` holds (a Frechet distance takes two) and gives one number. The interval is the percentile
    interval moved by the resamples' own bias, `mean(resamples) - value`: for a mean that is nothing, but a Frechet distance of resampled
    rows, even of a set to itself, lies far above that of the rows. Distances are not negative; nor is `low` where no resample was.
    A set of a single row has no interval, nor has a value that is not finite. Raises UsageError for a level outside 0 .. 1.
    """
    sets = [numpy_of(one) for one in (samples if isinstance(samples, tuple) else (samples,))]
    _check(level, resamples)
    value = float(statistic(*sets))
    if min(len(rows) for rows in sets) < 2 or not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"))
    generator = np.random.default_rng(seed)
    drawn = np.array([statistic(*(rows[generator.integers(len(rows), size=len(rows))] for rows in sets)) for _ in range(resamples)])
    low, high = np.quantile(drawn, _tails(level)) - (drawn.mean() - value)
    return Interval(value, max(float(low), 0.0) if drawn.min() >= 0 else float(low), float(high))


def _check(level: float, resamples: int) -> None:
    if not 0 < level < 1 or resamples < 1:
        raise UsageError(f"an interval has a level between 0 and 1, from 1 resample or more; came level {level} and {resamples} resamples")


def _tails(level: float) -> tuple[float, float]:
    return (1 - level) / 2, (1 + level) / 2
