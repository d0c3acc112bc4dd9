"""What the light network descends: means over the hole of what its fill gets wrong, in a picture, in time and to the eye.

Pictures are float in [0, 1]. Every loss is a mean over a sample's hole, B values, so that neither a small hole nor a short clip weighs
less; a sample without anything to count has 0. The names are those of iw3's trainer (nunif, MIT; its temporal_l1lpips and others), with
its slips mended: the second difference runs along time, and no part is diluted by known pixels. Perceptual distance: Zhang et al.,
arXiv 1801.03924. Warping: Lai et al., Learning blind video temporal consistency, ECCV 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from framefill.data.dataset import Clips
from framefill.evaluation.metrics.flow import SMALLEST, motion_of

OUTSIDE = 0.001  # of the error beyond the range of pictures, which a clamp alone would give no gradient for
WINDOW = 32  # pixels a side of what is transformed into cosines
SHIFT, TURN = 8.0, 15.0  # pixels, degrees: how far `moved_together` goes


@dataclass(frozen=True)
class Motion:
    """Where each frame's pixels go in the next: `flow` float B T-1 H W 2 in pixels; `visible` float B T-1 1 H W, 1 = seen there too."""

    flow: Tensor
    visible: Tensor


def clamped_l1(made: Tensor, truth: Tensor, hole: Tensor) -> Tensor:
    """Return the mean absolute error of what is shown, the fill clamped to [0, 1], and a thousandth of the error before the clamp."""
    shown = (made.clamp(0, 1) - truth).abs()
    return mean_over(shown + OUTSIDE * (made - truth).abs(), hole)


def gradient(error: Tensor, hole: Tensor) -> Tensor:
    """Return the mean absolute error of the differences between neighbouring pixels, one of which at least is in the hole.

    error: made - truth, B T 3 H W; hole: B T 1 H W. The two directions count the same.
    """
    return (_difference(error, hole, -1) + _difference(error, hole, -2)) / 2


def temporal(error: Tensor, hole: Tensor) -> Tensor:
    """Return the mean absolute error of the differences from frame to frame, 0 for a single frame."""
    return _difference(error, hole, 1)


def smoothness(made: Tensor, hole: Tensor) -> Tensor:
    """Return the mean square of the second difference in time, z(t-1) - 2 z(t) + z(t+1): 0 for a still clip of any colour."""
    second = made[:, :-2] - 2 * made[:, 1:-1] + made[:, 2:]
    return mean_over(second.square(), torch.maximum(torch.maximum(hole[:, :-2], hole[:, 1:-1]), hole[:, 2:]))


def rim(error: Tensor, hole: Tensor) -> Tensor:
    """Return the mean absolute error of the Laplacian on the hole's rim, a pixel to either side: a step or a kink there is a seam."""
    flat, holes = error.flatten(0, 1), hole.flatten(0, 1)
    kernel = error.new_tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).expand(3, 1, 3, 3)
    bent = functional.conv2d(functional.pad(flat, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    wide, narrow = functional.max_pool2d(holes, 3, 1, 1), -functional.max_pool2d(-holes, 3, 1, 1)
    return mean_over(bent.unflatten(0, error.shape[:2]).abs(), (wide - narrow).unflatten(0, hole.shape[:2]))


def warped(error: Tensor, hole: Tensor, motion: Motion) -> Tensor:
    """Return how much the error changes along the motion of the truth, where the next frame shows the same point.

    That is Lai et al.'s warping error of the fill, less the truth's own (light, noise, what the flow gets wrong), which so costs nothing.
    """
    flat = error[:, 1:].flatten(0, 1)
    height, width = error.shape[-2:]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=error.device), torch.arange(width, device=error.device), indexing="ij"
    )  # fmt: skip
    places = torch.stack((columns, rows), -1) + motion.flow.flatten(0, 1)
    places = places / places.new_tensor([max(1, width - 1), max(1, height - 1)]) * 2 - 1
    carried = functional.grid_sample(flat, places.to(flat), padding_mode="border", align_corners=True)
    return mean_over((error[:, :-1] - carried.unflatten(0, motion.flow.shape[:2])).abs(), hole[:, :-1] * motion.visible)


def cosines(error: Tensor, hole: Tensor) -> Tensor:
    """Return the mean absolute error of the cosine transform (DCT-II, orthonormal) of luma, red, green and blue in windows of 32 x 32.

    The windows overlap by half; those that the hole touches are counted, against their pixels in the hole.
    """
    flat, holes = error.flatten(0, 1), hole.flatten(0, 1)
    luma = (flat * flat.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    tiles, within = (_windows(part) for part in (torch.cat((luma, flat), 1), holes))  # n c rows columns 32 32
    basis = _cosine_basis(tiles.device)
    sizes = (basis @ tiles @ basis.T).abs().mean(1).sum((-1, -2))  # n rows columns
    within = within[:, 0]
    counted = torch.where(within.amax((-1, -2)) > 0, sizes, 0.0).flatten(1).sum(1)
    pixels = within.flatten(1).sum(1)
    return counted.unflatten(0, error.shape[:2]).sum(1) / pixels.unflatten(0, error.shape[:2]).sum(1).clamp_min(1.0)


def moved_together(clips: Sequence[Tensor], generators: Sequence[torch.Generator]) -> list[Tensor]:
    """Shift (by up to 8 pixels) or turn (by up to 15 degrees) clips B T C H W alike, or leave them: a third each, drawn for each sample.

    What is computed from a fill and its truth then does not settle on one grid of pixels (iw3's "diff-aug"). Beyond the edge, pictures
    are mirrored.
    """
    height, width = clips[0].shape[-2:]
    matrices = torch.stack([_drawn_matrix(height, width, generator) for generator in generators]).to(clips[0])
    moved = []
    for clip in clips:
        B, T = clip.shape[:2]
        grid = functional.affine_grid(matrices.repeat_interleave(T, 0), [B * T, clip.shape[2], height, width], align_corners=False)
        moved.append(functional.grid_sample(clip.flatten(0, 1), grid, padding_mode="reflection", align_corners=False).unflatten(0, (B, T)))
    return moved


def motion_of_truth(video: NDArray[np.uint8]) -> Motion | None:
    """Return the motion of clips uint8 B T H W 3 by DIS and what the next frame shows too; None below two frames or 16 pixels."""
    if video.shape[1] < 2 or min(video.shape[2:4]) < SMALLEST:
        return None
    found = [motion_of(clip, boundaries=False) for clip in video]
    visible = torch.from_numpy(np.stack([motion.visible for motion in found])).float().unsqueeze(2)
    return Motion(torch.from_numpy(np.stack([motion.forward for motion in found])), visible)


class WithMotion:
    """Clips with their motion beside them, `flow` T-1 H W 2 and `visible` T-1 1 H W, found by whoever reads them: a loader's workers."""

    def __init__(self, clips: Clips) -> None:
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of another epoch."""
        self._clips.set_epoch(epoch)

    def __getitem__(self, index: int) -> dict[str, object]:
        item = dict(self._clips[index])
        video = item["video"]
        assert isinstance(video, Tensor)
        motion = motion_of_truth(video.numpy()[None])
        return item if motion is None else item | {"flow": motion.flow[0], "visible": motion.visible[0]}


def mean_over(values: Tensor, where: Tensor) -> Tensor:
    """Return the mean of values B T C h w weighted with `where` B T 1 h w, B; 0 where nothing counts."""
    counted = where.sum((1, 2, 3, 4)) * values.shape[2]
    return torch.where(where > 0, values * where, 0.0).sum((1, 2, 3, 4)) / counted.clamp_min(1.0)


def _windows(pictures: Tensor) -> Tensor:
    """Cut pictures N C H W into windows that overlap by half, N C rows columns 32 32; beyond the edge is nothing."""
    half = WINDOW // 2
    height, width = pictures.shape[-2:]
    padded = functional.pad(pictures, (half, half + -width % half, half, half + -height % half))
    return padded.unfold(-2, WINDOW, half).unfold(-2, WINDOW, half)


@lru_cache(maxsize=2)
def _cosine_basis(device: torch.device) -> Tensor:
    """The orthonormal DCT-II, 32 x 32: a frequency a row."""
    frequency, place = torch.arange(WINDOW)[:, None], torch.arange(WINDOW)[None] + 0.5
    basis = torch.cos(math.pi / WINDOW * frequency * place) * math.sqrt(2 / WINDOW)
    basis[0] /= math.sqrt(2)
    return basis.to(device)


def _drawn_matrix(height: int, width: int, generator: torch.Generator) -> Tensor:
    """A 2 x 3 matrix for `affine_grid`: a turn about the middle, a shift, or neither."""
    kind, first, second = torch.rand(3, generator=generator).tolist()
    if kind < 1 / 3:
        return torch.tensor([[1, 0, (first * 2 - 1) * 2 * SHIFT / width], [0, 1, (second * 2 - 1) * 2 * SHIFT / height]])
    angle = math.radians(TURN) * (first * 2 - 1) if kind < 2 / 3 else 0.0
    cosine, sine = math.cos(angle), math.sin(angle)
    return torch.tensor([[cosine, -sine * height / width, 0], [sine * width / height, cosine, 0]])


def _difference(error: Tensor, hole: Tensor, axis: int) -> Tensor:
    """The mean absolute difference along an axis, of pairs of which the hole has one or both."""
    count = error.shape[axis] - 1
    change = error.narrow(axis, 1, count) - error.narrow(axis, 0, count)
    return mean_over(change.abs(), torch.maximum(hole.narrow(axis, 1, count), hole.narrow(axis, 0, count)))
