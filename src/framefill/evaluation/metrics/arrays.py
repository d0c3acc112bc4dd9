"""What the metrics take: frames T H W C and regions T H W, as numpy arrays or torch tensors, checked once."""

from __future__ import annotations

from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from framefill.errors import MaskMismatch, UsageError

ROUNDING = 1e-5  # share of the data range by which floats may leave it: float32 sums round by less


class Tensor(Protocol):
    """What is used of a torch tensor, so that this package never imports torch."""

    def detach(self) -> Tensor:
        """The values without their gradient."""

    def cpu(self) -> Tensor:
        """The values in main memory."""

    def numpy(self) -> NDArray[np.generic]:
        """The values as an array."""


Array = NDArray[np.generic] | Tensor
Samples = NDArray[np.integer | np.floating]  # uint8 or floats of any shape
Frames = Samples  # T H W C
Region = NDArray[np.bool_]  # T H W


def numpy_of(array: Array) -> NDArray[np.generic]:
    """Return the array itself, or the values of a torch tensor wherever it lies."""
    return array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()


def frames_of(frames: Array) -> Frames:
    """Return frames as T H W C of uint8 or floats. Raises UsageError for another shape or type."""
    values = numpy_of(frames)
    if values.ndim != 4 or not values.size:
        raise UsageError(f"frames come as T H W C with at least one value; came {_shape(values)}")
    if values.dtype != np.uint8 and not np.issubdtype(values.dtype, np.floating):
        raise UsageError(f"frames are uint8 or floats; came {values.dtype}: convert them")
    return cast(Frames, values)


def pair_of(one: Array, other: Array) -> tuple[Frames, Frames]:
    """Return two clips to be compared. Raises UsageError where their shapes differ."""
    first, second = frames_of(one), frames_of(other)
    if first.shape != second.shape:
        raise UsageError(f"clips of one size are compared; came {_shape(first)} and {_shape(second)} (T x H x W x C)")
    return first, second


def region_of(where: Array | None, frames: Frames) -> Region | None:
    """Return the region of these frames, None for all of it. Raises MaskMismatch for another size or type."""
    if where is None:
        return None
    region = numpy_of(where)
    if region.dtype != np.bool_:
        raise MaskMismatch(f"a region is bool, True = counts; came {region.dtype}: pass mask > 0 or the like")
    if region.shape != frames.shape[:3]:
        raise MaskMismatch(f"a region has the frames' T x H x W, {_shape(frames[..., 0])}; came {_shape(region)}")
    return np.ascontiguousarray(region, dtype=np.bool_)


def check_range(frames: Frames, data_range: float) -> None:
    """Raise UsageError where frames cannot have values in 0 .. data_range: a PSNR of [0,1] frames at range 255 looks splendid."""
    if frames.dtype == np.uint8 and data_range >= 255:
        return
    low, high = float(frames.min()), float(frames.max())
    slack = ROUNDING * data_range
    if not (low >= -slack and high <= data_range + slack):
        raise UsageError(
            f"frames run from {low:g} to {high:g}, not within 0 .. {data_range:g}; scale or clip them, or pass their data_range"
        )
    if data_range > 1 and 0 < high <= 1 and bool(np.any(frames != np.rint(frames))):
        raise UsageError(f"frames run from {low:g} to {high:g} in fractions, and data_range is {data_range:g}; pass data_range=1")


def finite_rows(features: Array, least: int = 1) -> NDArray[np.float64]:
    """Return features as float64 N D. Raises UsageError for another shape, fewer than `least` rows, or values that are not finite."""
    rows = numpy_of(features).astype(np.float64)
    if rows.ndim != 2 or len(rows) < least:
        raise UsageError(f"features come as N x D with at least {least} row(s); came {_shape(rows)}")
    if not np.isfinite(rows).all():
        raise UsageError("features hold nan or infinity; look at the clips, or at the network's precision, that made them")
    return rows


def _shape(array: NDArray[np.generic]) -> str:
    return "x".join(map(str, array.shape)) or "one number"
