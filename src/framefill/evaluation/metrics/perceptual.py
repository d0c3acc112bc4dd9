"""Perceptual distance of frames, by a network that is handed in: LPIPS and its like.

Zhang et al., The unreasonable effectiveness of deep features as a perceptual metric, CVPR 2018. The network's backbone, its heads and the
frames' size are part of the number: name them beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.evaluation.metrics.arrays import Array, Frames, Region, numpy_of, pair_of, region_of

DistanceMap = Callable[[Frames, Frames], Array]  # two stacks of frames N H W 3 -> their distance at each pixel, N H W


def lpips(result: Array, truth: Array, distance_map: DistanceMap, where: Array | None = None, *, batch: int = 8) -> NDArray[np.float64]:
    """Return each frame's mean perceptual distance over the region; 0 for equal frames, nan for a frame without the region.

    `result` and `truth` are T H W 3, `where` bool T H W or None for the whole frame. `distance_map` takes two stacks of at most `batch`
    frames as they are here and gives their distance at each pixel (N H W): the sum over the network's layers, each enlarged to the
    frames. The mean of that map over a whole frame is LPIPS with `spatial=True`; without, the layers' own means are added up, which
    weighs the rim a little differently. `regions.means_over` does the same for maps already at hand. Raises UsageError where sizes differ.
    """
    first, second = pair_of(result, truth)
    return mean_distances(first, second, distance_map, region_of(where, first), batch)


def mean_distances(first: Frames, second: Frames, distance_map: DistanceMap, region: Region | None, batch: int) -> NDArray[np.float64]:
    """Return the mean of each pair's distance map over the region; pairs without the region cost nothing and are nan."""
    if batch < 1:
        raise UsageError(f"a batch holds 1 pair of frames or more; came {batch}")
    values = np.full(len(first), np.nan)
    wanted = np.arange(len(first)) if region is None else np.flatnonzero(region.any(axis=(1, 2)))
    for start in range(0, len(wanted), batch):
        chosen = wanted[start : start + batch]
        maps = numpy_of(distance_map(first[chosen], second[chosen])).astype(np.float64)
        if maps.shape != (len(chosen), *first.shape[1:3]):
            raise UsageError(f"a distance map has one value a pixel, {(len(chosen), *first.shape[1:3])}; came {maps.shape}")
        for place, plane in zip(chosen, maps, strict=True):
            values[place] = (plane if region is None else plane[region[place]]).mean()
    return values
