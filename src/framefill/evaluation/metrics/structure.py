"""Structural similarity: SSIM as scikit-image computes it, MS-SSIM as torchmetrics does, with the mean over any region.

SSIM: Wang et al., Image quality assessment: from error visibility to structural similarity, IEEE TIP 2004. MS-SSIM: Wang,
Simoncelli and Bovik, Multiscale structural similarity for image quality assessment, Asilomar 2003. The window is part of the
number: video inpainting has tabulated `win_size=65` since STTN, and a window of 7 or 11 gives less on the same frames.

All sums are sliding sums (`cv2.boxFilter`), exact for uint8, so the window's size costs nothing. Only windows that lie wholly
within the frame count, as in scikit-image's mean; so the border's half window belongs to no region either, and the SSIM of the whole frame
is the mean of hole and outside, weighted by their counted pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.evaluation.metrics.arrays import Array, Frames, Region, Samples, check_range, pair_of, region_of
from framefill.media.composite import bounding_box

Plane = NDArray[np.float64]  # H W C
VIDEO_INPAINTING_WINDOW = 65  # pixels; the habit of STTN, FuseFormer, E2FGVI and ProPainter
K1, K2 = 0.01, 0.03  # Wang et al. 2004, section III
TRUNCATE = 3.5  # standard deviations at which the Gaussian window ends: 11 pixels at sigma 1.5
BAND = 32  # rows worked on at a time: their maps stay in the cache. At 432x240, window 7, on one core: twice the speed of whole frames
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2


def ssim(
    result: Array,
    truth: Array,
    where: Array | None = None,
    *,
    win_size: int = 7,
    gaussian: bool = False,
    sigma: float = 1.5,
    sample_covariance: bool = True,
    data_range: float = 255.0,
) -> NDArray[np.float64]:
    """Return each frame's SSIM, the mean over channels and over the region's pixels whose window lies within the frame, in -1 .. 1.

    `result` and `truth` are T H W C with values in 0 .. data_range, `where` is bool T H W or None for the whole frame; a frame
    without such a pixel is nan. The window is a square of `win_size` pixels (odd), or with `gaussian` a Gaussian of `sigma` pixels
    cut off at 3.5 sigma, of which Wang et al. use `sample_covariance=False`. Equal to scikit-image's
    `structural_similarity(..., channel_axis=-1)` with `gaussian_weights` and `use_sample_covariance` of the same meaning.
    Raises UsageError where sizes differ, values leave the range, or the window is even or does not fit.
    """
    first, second = pair_of(result, truth)
    region = region_of(where, first)
    check_range(first, data_range)
    check_range(second, data_range)
    window = Window.gaussian(sigma) if gaussian else Window.square(win_size)
    window.check(first)
    unbias = window.size**2 / (window.size**2 - 1) if sample_covariance else 1.0
    constants = (K1 * data_range) ** 2, (K2 * data_range) ** 2

    def score(one: Samples, other: Samples) -> Plane:
        luminance, contrast = _terms(one, other, window, constants, unbias)
        luminance *= contrast
        return luminance

    return np.array([_mean_over(score, window, *frame) for frame in _each(first, second, region)])


def ms_ssim(result: Array, truth: Array, where: Array | None = None, *, data_range: float = 255.0) -> NDArray[np.float64]:
    """Return each frame's MS-SSIM in 0 .. 1: five scales, Gaussian window of 11 pixels (sigma 1.5), negative terms counted as 0.

    `result`, `truth` and `where` are as in `ssim`. Equal to torchmetrics' `MultiScaleStructuralSimilarityIndexMeasure` with its
    defaults, and thus with its border: the coarsest scale counts every pixel of the mirrored frame, the others only whole windows.
    At coarser scales a pixel counts by the share of it that lies in the region. A frame of whose region a scale sees nothing is nan.
    Raises UsageError as `ssim` does, and for frames of less than 176 pixels in width or height.
    """
    first, second = pair_of(result, truth)
    region = region_of(where, first)
    check_range(first, data_range)
    check_range(second, data_range)
    window = Window.gaussian(1.5)
    least = window.size * 2 ** (len(SCALE_WEIGHTS) - 1)
    if min(first.shape[1:3]) < least:
        raise UsageError(f"MS-SSIM needs frames of {least} x {least} pixels or more; came {first.shape[2]}x{first.shape[1]}: use ssim")
    constants = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    return np.array([_over_scales(*frame, window, constants) for frame in _each(first, second, region)])


@dataclass(frozen=True)
class Window:
    """A window of `size` x `size` pixels: `weights` (one axis, sum 1) or, where None, all alike."""

    size: int
    weights: NDArray[np.float64] | None

    @classmethod
    def square(cls, size: int) -> Window:
        """All pixels of an odd square alike."""
        if size < 3 or size % 2 == 0:
            raise UsageError(f"an SSIM window has an odd size of 3 pixels or more; came {size}")
        return cls(size, None)

    @classmethod
    def gaussian(cls, sigma: float) -> Window:
        """A Gaussian cut off at 3.5 sigma and scaled to a sum of 1."""
        radius = int(TRUNCATE * sigma + 0.5)
        if radius < 1:
            raise UsageError(f"a Gaussian window needs a sigma that reaches the next pixel, 0.15 or more; came {sigma}")
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        return cls(2 * radius + 1, weights / weights.sum())

    @property
    def radius(self) -> int:
        """Pixels on either side of the middle one."""
        return self.size // 2

    def check(self, frames: Frames) -> None:
        """Raise UsageError where no window fits into the frames."""
        height, width = frames.shape[1:3]
        if min(height, width) < self.size:
            raise UsageError(f"the SSIM window of {self.size} pixels does not fit frames of {width}x{height}; pass a smaller win_size")

    def mean(self, values: Samples, mirrored: bool = False) -> Plane:
        """Return the weighted mean around each pixel whose window lies within H W C; with `mirrored` around every pixel."""
        border = cv2.BORDER_REFLECT_101
        if self.weights is None:
            means = cv2.boxFilter(values, cv2.CV_64F, (self.size, self.size), borderType=border)
        else:
            means = cv2.sepFilter2D(values, cv2.CV_64F, self.weights, self.weights, borderType=border)
        height, width, channels = values.shape
        plane = np.asarray(means, np.float64).reshape(height, width, channels)  # OpenCV drops a channel axis of 1
        r = 0 if mirrored else self.radius
        return plane[r : height - r, r : width - r]


def _each(first: Frames, second: Frames, region: Region | None) -> list[tuple[Samples, Samples, NDArray[np.bool_] | None]]:
    return [(one, other, None if region is None else region[index]) for index, (one, other) in enumerate(zip(first, second, strict=True))]


def _mean_over(
    score: Callable[[Samples, Samples], Plane],
    window: Window,
    one: Samples,
    other: Samples,
    counted: NDArray[np.bool_] | None,
) -> float:
    """Return the mean of a map over the counted pixels, band by band; only the rectangle that they need is computed."""
    r = window.radius
    height, width = one.shape[0] - 2 * r, one.shape[1] - 2 * r
    inner = np.ones((height, width), np.bool_) if counted is None else counted[r : r + height, r : r + width]
    box = bounding_box(inner)
    if box is None:
        return float("nan")
    rows, columns = box
    wide = slice(columns.start, columns.stop + 2 * r)
    total, band = 0.0, max(BAND, 4 * r)
    for top in range(rows.start, rows.stop, band):
        bottom = min(top + band, rows.stop)
        plane = score(one[top : bottom + 2 * r, wide], other[top : bottom + 2 * r, wide])
        total += float(plane.sum() if counted is None else plane[inner[top:bottom, columns]].sum())
    return total / (int(np.count_nonzero(inner)) * int(one.shape[2]))


def _terms(
    one: Samples,
    other: Samples,
    window: Window,
    constants: tuple[float, float],
    unbias: float,
    mirrored: bool = False,
) -> tuple[Plane, Plane]:
    """Return the map of luminance and that of contrast times structure (Wang et al. 2004, equations 6 and 13), float64 H W C.

    Written in place: at 432x240 the maps fall out of the cache, and each one more costs as much as a sum over windows.
    """
    if not one.dtype == other.dtype == np.uint8:
        one, other = one.astype(np.float64), other.astype(np.float64)
    c1, c2 = constants
    luminance, energy = window.mean(one, mirrored), window.mean(other, mirrored)
    product = luminance * energy  # of the two means
    np.square(luminance, out=luminance)
    np.square(energy, out=energy)
    energy += luminance  # the sum of the squared means
    variances = window.mean(_product(one, one), mirrored)
    variances += window.mean(_product(other, other), mirrored)
    variances -= energy
    contrast = window.mean(_product(one, other), mirrored)
    contrast -= product
    contrast *= 2 * unbias
    contrast += c2
    variances *= unbias
    variances += c2
    contrast /= variances
    product *= 2
    product += c1
    energy += c1
    product /= energy
    return product, contrast


def _product(one: Samples, other: Samples) -> Samples:
    """Return the product of each two samples, exact: 255 x 255 fits 16 bits."""
    if one.dtype == np.uint8:
        return np.asarray(cv2.multiply(one, other, dtype=cv2.CV_16U)).reshape(one.shape)
    return np.asarray(np.multiply(one, other))


def _over_scales(
    one: Samples,
    other: Samples,
    counted: NDArray[np.bool_] | None,
    window: Window,
    constants: tuple[float, float],
) -> float:
    """Return the product of the scales' means, each to the power of its weight (Wang et al. 2003, equation 7)."""
    x, y = one.astype(np.float64), other.astype(np.float64)
    share = np.ones(x.shape[:2]) if counted is None else counted.astype(np.float64)
    score = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS):
        coarsest = scale == len(SCALE_WEIGHTS) - 1
        luminance, contrast = _terms(x, y, window, constants, unbias=1.0, mirrored=coarsest)
        r = 0 if coarsest else window.radius
        weights = share[r : share.shape[0] - r, r : share.shape[1] - r]
        if not weights.any():
            return float("nan")
        values = (luminance * contrast if coarsest else contrast).mean(axis=2)
        score *= max(float(np.average(values, weights=weights)), 0.0) ** weight
        x, y, share = _halved(x), _halved(y), _halved(share)
    return score


def _halved(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each 2 x 2 pixels; an odd last row or column is left out."""
    even = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
    return np.asarray((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4)
