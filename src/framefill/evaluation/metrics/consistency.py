"""How alike a clip's frames are in the eyes of a network: cosines of per-frame features.

The frame consistency of editing papers, which take CLIP's image features; any other feature (MobileNetV2's) must be named beside
the number. Papers that print 2.4 where others print 0.96 multiply by CLIPScore's 2.5. It does not separate good methods from one
another: a frozen picture scores 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.evaluation.metrics.arrays import Array, finite_rows


def consecutive(features: Array) -> NDArray[np.float64]:
    """Return the cosine of each frame's features with the next frame's, T-1 values in -1 .. 1; T D in, a row of zeros gives nan."""
    rows = _directions(features)
    return np.asarray(np.einsum("td,td->t", rows[:-1], rows[1:]))


def to_first(features: Array) -> NDArray[np.float64]:
    """Return the cosine of each frame's features (T D) with the first frame's, T values in -1 .. 1, the first itself nan."""
    rows = _directions(features)
    values = rows @ rows[0]
    values[0] = np.nan
    return np.asarray(values)


def to_source(features: Array, source: Array) -> NDArray[np.float64]:
    """Return the cosine of each frame's features with those of the source's frame (both T D), or of one picture (1 D), T values in -1 .. 1.

    Raises UsageError where the numbers of rows or columns do not fit.
    """
    rows, others = _directions(features), _directions(source)
    if rows.shape[1] != others.shape[1] or len(others) not in (1, len(rows)):
        raise UsageError(
            f"features to compare are of one network and as many frames, or of one picture; came {rows.shape} and {others.shape}"
        )
    return np.asarray((rows * others).sum(axis=1))


def _directions(features: Array) -> NDArray[np.float64]:
    rows = finite_rows(features)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, np.nan)
