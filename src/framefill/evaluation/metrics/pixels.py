"""Errors of single pixels, one value a frame: squared, absolute, PSNR, and what changed that should not have.

An error over a region divides by the region's *samples*, pixels times channels. (One public benchmark divides the sum over three
channels by the number of pixels, which makes its masked PSNR 10 log10(3) = 4.77 dB too low; another masks only one of the two
pictures.)
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.evaluation.metrics.arrays import Array, Frames, Region, Samples, check_range, pair_of, region_of

PerFrame = NDArray[np.float64]  # T
InfiniteRule = Literal["keep", "skip", "cap"]


class Change(NamedTuple):
    """The greatest and the mean absolute difference of each frame, in the frames' own levels, T each; nan where nothing is known."""

    max: PerFrame
    mean: PerFrame


def mse(result: Array, truth: Array, where: Array | None = None) -> PerFrame:
    """Return each frame's mean squared error over the region's samples (pixels x channels), in squared levels; nan without the region.

    `result` and `truth` are T H W C, `where` bool T H W or None for the whole frame. Raises UsageError where sizes differ.
    """
    return _mean_error(*_inputs(result, truth, where), cv2.NORM_L2SQR)


def mae(result: Array, truth: Array, where: Array | None = None) -> PerFrame:
    """Return each frame's mean absolute error over the region's samples (pixels x channels), in levels; nan without the region."""
    return _mean_error(*_inputs(result, truth, where), cv2.NORM_L1)


def psnr(
    result: Array,
    truth: Array,
    where: Array | None = None,
    *,
    data_range: float = 255.0,
    floor: float = 0.0,
) -> PerFrame:
    """Return each frame's peak signal-to-noise ratio in dB, 10 log10(data_range^2 / mse); infinite for a frame without error.

    `result` and `truth` are T H W C with values in 0 .. data_range; `where` is bool T H W, or None for the whole frame; a frame
    without a pixel of the region is nan. `floor` is added to the mean squared error as a share of data_range^2: 1e-6 gives the
    number of iw3's stereo benchmark, which thereby never exceeds 60 dB. Raises UsageError where sizes differ or values leave the range.
    """
    first, second, region = _inputs(result, truth, where)
    check_range(first, data_range)
    check_range(second, data_range)
    share = _mean_error(first, second, region, cv2.NORM_L2SQR) / data_range**2 + floor
    with np.errstate(divide="ignore"):
        return -10 * np.log10(share)


def outside_change(result: Array, given: Array, mask: Array) -> Change:
    """Return how far each frame's pixels outside the mask (bool T H W, True = hole) are from those given: 0 and 0 are the target."""
    first, second, hole = _inputs(result, given, mask)
    assert hole is not None  # a mask was given
    outside = ~hole
    highest = np.full(len(first), np.nan)
    for index, (one, other, known) in enumerate(zip(first, second, outside, strict=True)):
        if known.any():
            highest[index] = np.abs(np.subtract(one[known], other[known], dtype=np.float64)).max()
    return Change(highest, _mean_error(first, second, outside, cv2.NORM_L1))


def mean_psnr(values: NDArray[np.float64], rule: InfiniteRule, cap: float = 100.0) -> float:
    """Return the mean PSNR in dB of many frames, with a stated rule for frames without any error, whose PSNR is infinite.

    `keep` lets one such frame make the mean infinite; `skip` leaves them out (all of them perfect: infinite); `cap` counts no frame
    higher than `cap` dB. nan (frames without the region) is left out; nothing left is nan. Raises UsageError for another rule.
    """
    known = values[~np.isnan(values)]
    if rule == "cap":
        known = np.minimum(known, cap)
    elif rule == "skip":
        finite = known[np.isfinite(known)]
        known = finite if finite.size else known
    elif rule != "keep":
        raise UsageError(f"no rule for infinite PSNR is called {rule!r}; there are keep, skip, cap")
    return float(known.mean()) if known.size else float("nan")


def _inputs(result: Array, truth: Array, where: Array | None) -> tuple[Frames, Frames, Region | None]:
    first, second = pair_of(result, truth)
    return first, second, region_of(where, first)


def _mean_error(first: Frames, second: Frames, region: Region | None, norm: int) -> PerFrame:
    errors = np.full(len(first), np.nan)
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        counted = None if region is None else region[index]
        pixels = one[..., 0].size if counted is None else int(np.count_nonzero(counted))
        if pixels:
            errors[index] = _total(one, other, counted, norm) / (pixels * one.shape[-1])
    return errors


def _total(one: Samples, other: Samples, counted: NDArray[np.bool_] | None, norm: int) -> float:
    """Return the sum of squared or absolute differences; exact for uint8."""
    if one.dtype == other.dtype == np.uint8:
        mask = None if counted is None else counted.view(np.uint8)
        return float(cv2.norm(np.ascontiguousarray(one), np.ascontiguousarray(other), norm, mask))
    if counted is not None:
        one, other = one[counted], other[counted]
    difference = np.subtract(one, other, dtype=np.float64)
    return float(np.vdot(difference, difference)) if norm == cv2.NORM_L2SQR else float(np.abs(difference).sum())
