"""How well an edit keeps to its source and to its edited first frame. (What it leaves alone is `pixels.psnr` with the region `outside`.)"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.evaluation.metrics.arrays import Array, frames_of, numpy_of, pair_of, region_of
from framefill.evaluation.metrics.flow import FlowMethod, dis, flows, pictures_of
from framefill.evaluation.metrics.pixels import psnr
from framefill.evaluation.metrics.structure import ssim

MOVES = 1.0  # pixels from frame to frame; below that the direction of flow is noise


class Agreement(NamedTuple):
    """For each pair of frames the mean `cosine` of two flow fields (-1 .. 1) and their mean `endpoint` distance in pixels, T-1 each."""

    cosine: NDArray[np.float64]
    endpoint: NDArray[np.float64]


class Fidelity(NamedTuple):
    """How near the first frame is to the picture that was to be followed: `psnr` in dB and `ssim`."""

    psnr: float
    ssim: float


def motion_agreement(
    source: Array,
    edited: Array,
    where: Array | None = None,
    *,
    flow: FlowMethod = dis,
    moves: float = MOVES,
    data_range: float = 255.0,
) -> Agreement:
    """Return how well the edited clip moves as its source does, over the pixels that the source moves by at least `moves` pixels.

    `source` and `edited` are T H W 3, `where` (bool T H W) takes the pixels of frame t. The cosine of a pixel that stands still in the
    edited clip is 0. The source itself has a cosine of 1 and a distance of 0, the clip played backwards about -1; a pair in which the
    source does not move is nan. Raises UsageError where sizes or ranges differ.
    """
    frames, _ = pair_of(source, edited)
    region = region_of(where, frames)
    wanted, made = (flows(pictures_of(clip, data_range), flow).astype(np.float64) for clip in (source, edited))
    cosine, endpoint = np.full(len(wanted), np.nan), np.full(len(wanted), np.nan)
    for index, (of_source, of_edited) in enumerate(zip(wanted, made, strict=True)):
        speed = np.linalg.norm(of_source, axis=-1)
        counted = speed >= moves if region is None else (speed >= moves) & region[index]
        if counted.any():
            one, other = of_source[counted], of_edited[counted]
            lengths = speed[counted] * np.linalg.norm(other, axis=-1)
            products = (one * other).sum(axis=-1)
            cosine[index] = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0).mean()
            endpoint[index] = np.linalg.norm(one - other, axis=-1).mean()
    return Agreement(cosine, endpoint)


def first_frame_fidelity(edited: Array, first: Array, *, data_range: float = 255.0) -> Fidelity:
    """Return how near the edited clip's first frame is to the edited picture (H W 3) it was to start from; infinite dB and 1 where equal.

    SSIM with a window of 7 pixels. Raises UsageError where the sizes differ.
    """
    frames, picture = frames_of(edited), numpy_of(first)
    if picture.shape != frames.shape[1:]:
        raise UsageError(f"the edited first frame has the clip's H x W x C, {frames.shape[1:]}; came {picture.shape}")
    start, wanted = frames[:1], picture[None]
    return Fidelity(float(psnr(start, wanted, data_range=data_range)[0]), float(ssim(start, wanted, data_range=data_range)[0]))
