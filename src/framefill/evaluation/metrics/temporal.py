"""How steady a clip is: warping error, flicker, and agreement of its motion and of its perceptual change with the truth's.

Warping error: Lai et al., Learning blind video temporal consistency, ECCV 2018. tOF and tLP: Chu et al., Learning temporal
coherence via self-supervision for GAN-based video generation (TecoGAN), ACM TOG 2020, section 5.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.evaluation.metrics.arrays import Array, Frames, Region, check_range, frames_of, pair_of, region_of
from framefill.evaluation.metrics.flow import FlowMethod, Motion, carry, dis, flows, motion_of, pictures_of
from framefill.evaluation.metrics.perceptual import DistanceMap, mean_distances
from framefill.evaluation.metrics.regions import means_over

# What a printed warping error is a multiple of. The first two are the figures of E2FGVI's and ProPainter's tables.
EWARP_SCALES = MappingProxyType({"plain": 1.0, "E2FGVI": 1e-2, "ProPainter": 1e-3, "TokenFlow": 1e-3, "StableV2V": 1e-5})


def warping_error(
    result: Array,
    flow_from: Array | Motion,
    where: Array | None = None,
    *,
    flow: FlowMethod = dis,
    boundaries: bool = True,
    data_range: float = 255.0,
) -> NDArray[np.float64]:
    """Return for each pair of frames how much the result changes along the motion: mean squared difference on [0,1] frames, T-1 values.

    The next frame is carried back along the flow from t to t + 1, and compared with frame t over the samples (pixels x channels) that
    are not occluded. Flow and occlusion (`flow.visible`) come from `flow_from`: the truth or source clip of the result's size, or the
    `Motion` of it (`flow.motion_of`), to be computed once for several results; the result's own clip gives the self-referenced error.
    `where` (bool T H W) takes the pixels of frame t; a pair in which nothing counts is nan. A static clip has 0.
    Divide by the scale of a publication (`printed_ewarp`) before comparing with its table. Raises UsageError where sizes or ranges differ.
    """
    frames = frames_of(result)
    region = region_of(where, frames)
    check_range(frames, data_range)
    motion = flow_from if isinstance(flow_from, Motion) else motion_of(flow_from, flow, boundaries=boundaries, data_range=data_range)
    if motion.visible.shape != (len(frames) - 1, *frames.shape[1:3]):
        raise UsageError(f"the motion is of {_size(motion.visible, 1)} frames, the result of {_size(frames[..., 0])} (T x H x W)")
    errors = np.full(len(frames) - 1, np.nan)
    for index, (field, seen) in enumerate(zip(motion.forward, motion.visible, strict=True)):
        counted = seen if region is None else seen & region[index]
        if counted.any():
            here, there = (frame.astype(np.float32) / np.float32(data_range) for frame in frames[index : index + 2])
            errors[index] = np.square(carry(there, field)[counted] - here[counted], dtype=np.float64).mean()
    return errors


def printed_ewarp(error: float, scale: str) -> float:
    """Return a warping error as a publication prints it: divided by its scale in `EWARP_SCALES`."""
    if scale not in EWARP_SCALES:
        raise UsageError(f"no scale of the warping error is called {scale!r}; there are {', '.join(EWARP_SCALES)}")
    return error / EWARP_SCALES[scale]


def flicker(result: Array, truth: Array | None = None, where: Array | None = None) -> NDArray[np.float64]:
    """Return each frame's mean absolute second difference in time, |r(t-1) - 2 r(t) + r(t+1)| / 2, in the frames' levels, T values.

    That is how far a frame is from the mean of its neighbours: 0 for a static clip of any colour and for an even fade, d for a clip
    that alternates between two pictures d apart. With `truth` its own value is subtracted, so that real motion does not count:
    0 for the truth, positive where the result flickers more, negative where it is stiller than it should be. `where` (bool T H W)
    takes the pixels of frame t. The first and the last frame, and those without the region, are nan. Raises UsageError where sizes differ.
    """
    if truth is None:
        frames = frames_of(result)
        return _flicker(frames, region_of(where, frames))
    frames, other = pair_of(result, truth)
    region = region_of(where, frames)
    return _flicker(frames, region) - _flicker(other, region)


def tof(
    result: Array, truth: Array, where: Array | None = None, *, flow: FlowMethod = dis, data_range: float = 255.0
) -> NDArray[np.float64]:
    """Return for each pair of frames how far the result's motion is from the truth's: mean endpoint distance in pixels, T-1 values.

    `where` (bool T H W) takes the pixels of frame t; a pair without them is nan. The truth itself has 0. TecoGAN's tOF, with the flow
    passed here (theirs is Farneback's) and without its cropped border. Raises UsageError where sizes or ranges differ.
    """
    frames, _ = pair_of(result, truth)
    region = region_of(where, frames)
    made, wanted = (flows(pictures_of(clip, data_range), flow) for clip in (result, truth))
    return means_over(np.linalg.norm(made - wanted, axis=-1), None if region is None else region[:-1])


def tlpips(result: Array, truth: Array, distance_map: DistanceMap, where: Array | None = None, *, batch: int = 8) -> NDArray[np.float64]:
    """Return for each pair of frames |d(r(t), r(t+1)) - d(g(t), g(t+1))|: how much more or less the result changes to the eye, T-1 values.

    `distance_map` is LPIPS or another distance (see `perceptual.lpips`), `where` (bool T H W) takes the pixels of frame t. The truth
    itself has 0. TecoGAN's tLP, which prints it times 100. Raises UsageError where sizes differ.
    """
    frames, other = pair_of(result, truth)
    region = region_of(where, frames)
    within = None if region is None else region[:-1]
    made, wanted = (mean_distances(clip[:-1], clip[1:], distance_map, within, batch) for clip in (frames, other))
    return np.abs(made - wanted)


def _flicker(frames: Frames, region: Region | None) -> NDArray[np.float64]:
    values = np.full(len(frames), np.nan)
    for index in range(1, len(frames) - 1):
        before, here, after = (frame.astype(np.float32) for frame in frames[index - 1 : index + 2])
        change = np.abs(before + after - 2 * here)
        counted = change if region is None else change[region[index]]
        if counted.size:
            values[index] = counted.mean(dtype=np.float64) / 2
    return values


def _size(frames: NDArray[np.generic], more: int = 0) -> str:
    return "x".join(map(str, (len(frames) + more, *frames.shape[1:])))
