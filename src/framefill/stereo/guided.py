"""The guided filter with a colour guide: a field that follows the edges of a picture.

He, Sun and Tang, Guided Image Filtering, TPAMI 2013, equations 19 and 20; the coefficients may be used at another size than they were
found at (He and Sun, Fast Guided Filter, 2015).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]  # h w
Guide = NDArray[np.float32]  # h w 3, 0..1
Weights = tuple[Field, ...]  # a slope for each colour, and an offset


def guide_of(picture: NDArray[np.uint8], width: int, height: int) -> Guide:
    """A picture uint8 H W 3 at another size as a guide, float32 in 0..1."""
    small = picture
    if picture.shape[:2] != (height, width):
        shrinks = height * width < picture.shape[0] * picture.shape[1]
        small = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8)
    return small.astype(np.float32) * np.float32(1 / 255)


def coefficients(guide: Guide, field: Field, radius: int, epsilon: float) -> Weights:
    """How the field is made of the guide's colours around each pixel, averaged over the windows that a pixel lies in.

    radius: of a window, pixels; epsilon: variance of the guide (of 0..1, squared) below which the field is smoothed over.
    """

    def mean(*planes: Field) -> tuple[Field, ...]:
        """Box means, three planes at a time: OpenCV averages interleaved planes in one pass."""
        size = (2 * radius + 1, 2 * radius + 1)
        return _planes(np.asarray(cv2.blur(cv2.merge(planes), size, borderType=cv2.BORDER_REFLECT), np.float32))

    small = np.float32(epsilon)
    r, g, b = _planes(guide)
    mr, mg, mb, mf = mean(r, g, b, field)
    rr, rg, rb = mean(r * r, r * g, r * b)
    gg, gb, bb = mean(g * g, g * b, b * b)
    rf, gf, bf = mean(r * field, g * field, b * field)
    matrix = (rr - mr * mr + small, rg - mr * mg, rb - mr * mb, gg - mg * mg + small, gb - mg * mb, bb - mb * mb + small)
    x, y, z = _solved(matrix, (rf - mr * mf, gf - mg * mf, bf - mb * mf))
    return mean(x, y, z, mf - x * mr - y * mg - z * mb)


def applied(weights: Weights, picture: Guide | NDArray[np.uint8]) -> Field:
    """The field that the coefficients make of a picture of any size h w 3, a guide or the levels that it was made of."""
    size, scale = (picture.shape[1], picture.shape[0]), 1 / 255 if picture.dtype == np.uint8 else 1.0
    # One plane after the other, at 1280x720 in half of the time that one sum over the colours takes.
    *slopes, field = (cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in weights)
    for slope, colour in zip(slopes, cv2.split(picture), strict=True):
        field = cv2.add(field, cv2.multiply(slope, colour, scale=scale, dtype=cv2.CV_32F))
    return np.asarray(field, np.float32)


def _planes(field: NDArray[np.float32]) -> tuple[Field, ...]:
    return tuple(np.asarray(plane, np.float32) for plane in cv2.split(field))


def _solved(matrix: tuple[Field, ...], right: tuple[Field, Field, Field]) -> tuple[Field, Field, Field]:
    """Solve a symmetric 3 by 3 system at every pixel by its adjugate; `matrix` holds rr, rg, rb, gg, gb, bb."""
    rr, rg, rb, gg, gb, bb = matrix
    a, b, c = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    d, e, f = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    scale = np.reciprocal(rr * a + rg * b + rb * c)
    x, y, z = right
    return (a * x + b * y + c * z) * scale, (b * x + d * y + e * z) * scale, (c * x + e * y + f * z) * scale
