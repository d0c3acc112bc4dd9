"""TransNetV2, where one shot gives way to the next: stacked convolutions in time at four dilations, and how alike near frames look.

Soucek and Lokoc, TransNet V2: An effective deep network architecture for fast shot transition detection, 2020 (arXiv 2008.04838). Batch
norms are folded into the convolutions before them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from framefill.errors import UsageError, WeightsError

SIZE = (27, 48)  # height and width of a frame as the network sees it, whatever its shape was
WIDTHS = (16, 32, 64)  # channels of a branch in the three blocks; a cell has four branches side by side
CELLS = 2  # of a block
DILATIONS = (1, 2, 4, 8)  # of the branches, in frames
REACH = 50  # frames to each side with which a frame is compared
BINS = 8  # of each colour in the histogram
SIMILAR = 128  # numbers in which two frames' features are compared, and which each comparison gives
DENSE = 1024
WINDOW, MARGIN = 100, 25  # frames seen at once, and those at either end whose answer is left to the window beside
LIKELY = 0.5  # from this probability on a frame belongs to a transition (section 4)


class TransNet(nn.Module):
    """The network: `net(frames)` for frames uint8 B T 27 48 3, RGB, any T.

    Gives logits float B T twice: that a frame is the middle of a transition (or the last before a cut), and that it is part of one.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = [3, *(len(DILATIONS) * width for width in WIDTHS)]
        self.blocks = nn.ModuleList(_Block(seen, width) for seen, width in zip(widths, WIDTHS, strict=False))
        self.feature_similarity = nn.Linear(2 * REACH + 1, SIMILAR)
        self.features = nn.Linear(sum(widths[1:]), SIMILAR)
        self.colour_similarity = nn.Linear(2 * REACH + 1, SIMILAR)
        rows, columns = (side // 2 ** len(WIDTHS) for side in SIZE)
        self.dense = nn.Linear(2 * SIMILAR + widths[-1] * rows * columns, DENSE)
        self.middle = nn.Linear(DENSE, 1)
        self.part = nn.Linear(DENSE, 1)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return both logits, float B T each. Raises UsageError for frames of another kind or size."""
        if frames.dtype != torch.uint8 or frames.ndim != 5 or tuple(frames.shape[2:]) != (*SIZE, 3):
            raise UsageError(f"frames are {frames.dtype} {tuple(frames.shape)}, expected uint8 B T {SIZE[0]} {SIZE[1]} 3")
        x = frames.permute(0, 4, 1, 2, 3) / 255  # b c t h w
        seen = []
        for block in self.blocks:
            x = block(x)
            seen.append(x.mean((3, 4)))
        alike = _similarities(self.features(torch.cat(seen, 1).transpose(1, 2)))
        colours = _similarities(_histograms(frames))
        told = [functional.relu(self.colour_similarity(colours)), functional.relu(self.feature_similarity(alike))]
        x = x.permute(0, 2, 3, 4, 1).flatten(2)  # b t, then rows, columns and channels
        x = functional.relu(self.dense(torch.cat((*told, x), 2)))
        return self.middle(x)[..., 0], self.part(x)[..., 0]


class Transitions:
    """The network over a clip of any length, in windows of 100 frames of which the middle 50 count: `show` every frame, then `found`."""

    def __init__(self, net: TransNet) -> None:
        self._net = net
        self._waiting: list[NDArray[np.uint8]] = []  # the frames of the next window, with the margin before it
        self._middle: list[NDArray[np.float32]] = []
        self._part: list[NDArray[np.float32]] = []
        self._count = 0

    def show(self, frame: NDArray[np.uint8]) -> None:
        """Take the next frame, uint8 27 48 3."""
        if not self._waiting:
            self._waiting = [frame] * MARGIN
        self._waiting.append(frame)
        self._count += 1
        self._look()

    def found(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return both probabilities of each frame shown, float T: middle of a transition, part of one. Nothing can be shown after."""
        while sum(map(len, self._middle)) < self._count:
            self._waiting.append(self._waiting[-1])
            self._look()
        none = np.zeros(0, np.float32)
        middle, part = (np.concatenate([none, *pieces])[: self._count] for pieces in (self._middle, self._part))
        return middle, part

    @torch.inference_mode()
    def _look(self) -> None:
        if len(self._waiting) < WINDOW:
            return
        frames = torch.from_numpy(np.stack(self._waiting))[None].to(next(self._net.parameters()).device)
        for pieces, logits in zip((self._middle, self._part), self._net(frames), strict=True):
            pieces.append(torch.sigmoid(logits[0, MARGIN : WINDOW - MARGIN]).float().cpu().numpy())
        self._waiting = self._waiting[WINDOW - 2 * MARGIN :]


def transnet(weights: Mapping[str, Tensor]) -> TransNet:
    """Return the network with the tensors `weights` of `weights.store`, ready to use; raises WeightsError when they do not fit."""
    net = TransNet()
    try:
        net.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise WeightsError(
            "the tensors are not those of TransNetV2; get them again with: framefill weights get transnetv2 --force"
        ) from error
    return net.eval().requires_grad_(False)


class _Block(nn.Module):
    """Two cells, of which the second adds to the first, then half the size."""

    def __init__(self, seen: int, width: int) -> None:
        super().__init__()
        wide = len(DILATIONS) * width
        self.cells = nn.ModuleList(_Cell(seen if number == 0 else wide, width) for number in range(CELLS))

    def forward(self, x: Tensor) -> Tensor:
        first = functional.relu(self.cells[0](x))
        return functional.avg_pool3d(functional.relu(self.cells[1](first)) + first, (1, 2, 2))


class _Cell(nn.Module):
    def __init__(self, seen: int, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_Branch(seen, width, dilation) for dilation in DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class _Branch(nn.Module):
    """A convolution in space, then one in time."""

    def __init__(self, seen: int, width: int, dilation: int) -> None:
        super().__init__()
        self.space = nn.Conv3d(seen, 2 * width, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.time = nn.Conv3d(2 * width, width, (3, 1, 1), padding=(dilation, 0, 0), dilation=(dilation, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.time(self.space(x))


def _similarities(vectors: Tensor) -> Tensor:
    """Cosines of each frame's vector B T D with those of the frames up to REACH before and after it, B T 2*REACH+1; 0 beyond the ends."""
    unit = functional.normalize(vectors, dim=2)
    every = functional.pad(unit @ unit.transpose(1, 2), (REACH, REACH))  # b t t+
    count = vectors.shape[1]
    places = torch.arange(count, device=every.device)[:, None] + torch.arange(2 * REACH + 1, device=every.device)
    return every.gather(2, places.expand(len(every), -1, -1))


def _histograms(frames: Tensor) -> Tensor:
    """Counts of the colours of each frame in 8x8x8 bins, float B T 512."""
    level = (frames.long() * BINS) // 256
    colour = (level[..., 0] * BINS + level[..., 1]) * BINS + level[..., 2]  # b t h w
    flat = colour.flatten(2)
    counts = torch.zeros(*flat.shape[:2], BINS**3, device=frames.device)
    return counts.scatter_add_(2, flat, torch.ones_like(flat, dtype=counts.dtype))
