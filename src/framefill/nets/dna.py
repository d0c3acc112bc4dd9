"""Deformable noise alignment: what later frames hold is carried along the flow into the holes of earlier ones, by offsets that are learned.

Offsets are the flow plus a learned residue: Chan et al., BasicVSR++, CVPR 2022, equations 3 and 4. Alignment of the noise of later frames
with the first frame's hole: FFF-VDI, AAAI 2025 (arXiv 2408.11402).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from framefill.errors import UsageError
from framefill.nets.deform import TAPS, deform_conv
from framefill.nets.guide import Guide
from framefill.nets.sampling import pixel_grid, warp

REACH = 3.0  # pixels by which a learned offset may leave the flow
Align = Literal["full", "flow", "deform", "none"]  # offsets by the flow and a learned residue, by one of them, or none


class Alignment(nn.Module):
    """A modulated deformable 3x3 convolution of features B `seen` h w to B `made` h w, whose offsets a condition B `told` h w makes.

    groups: of channels that share their offsets; they must divide `seen`. hidden: width of the net that makes the offsets. reach:
    farthest learned offset, in pixels. Untrained, offsets equal the flow and every tap counts half. Raises UsageError for groups that do
    not divide `seen`.
    """

    def __init__(self, seen: int, made: int, told: int, *, groups: int, hidden: int, reach: float = REACH) -> None:
        super().__init__()
        _check_groups(seen, groups)
        self.groups, self.reach = groups, reach
        self.weight = nn.Parameter(torch.empty(made, seen, 3, 3))
        self.bias = nn.Parameter(torch.zeros(made))
        bound = 1 / math.sqrt(TAPS * seen)
        nn.init.uniform_(self.weight, -bound, bound)
        self.conv_offset = offset_net(told, hidden, 3 * TAPS * groups)

    def forward(self, x: Tensor, told: Tensor, flow: Tensor | None = None) -> Tensor:
        """Convolve x at the places that `told` asks for, which are counted from those the flow B 2 h w (x, y, pixels) leads to."""
        residue, modulation = self.conv_offset(told).float().split((2 * TAPS * self.groups, TAPS * self.groups), 1)
        offset = self.reach * residue.tanh()
        if flow is not None:
            offset = offset + flow.flip(1).repeat(1, TAPS * self.groups, 1, 1)
        return deform_conv(x, offset, modulation.sigmoid(), self.weight, self.bias)


class DNA(nn.Module):
    """Fill the holes of every frame from the frames after it, from the last to the first: `dna(features, guide)`, B T C h w each way.

    What is known stays as it is, and so does what no flow that can be trusted reaches. Both kinds start as the plain warp along the flow:
    a deformable 3x3 convolution (features), or, with `copies`, values copied from one place each and never mixed (noise: white noise
    of unit variance stays that; the learned offsets have the gradient of bilinear sampling).
    groups: 16 for features, 1, 2 or 4 for four channels of latents. align: "flow" does without learned offsets, "deform" without the
    flow, "none" without both, which shows what each brings. Raises UsageError for groups that do not divide the channels.
    """

    def __init__(self, channels: int, groups: int = 1, *, copies: bool = False, align: Align = "full", hidden: int = 64) -> None:
        super().__init__()
        _check_groups(channels, groups)
        self.groups, self.copies, self.align = groups, copies, align
        self.reach = REACH if align in ("full", "deform") else 0.0
        told = 2 * channels + 4
        if copies:
            self.conv_offset = offset_net(told, hidden, 2 * groups)
            return
        self.deform_align = Alignment(channels, channels, told, groups=groups, hidden=hidden, reach=self.reach)
        with torch.no_grad():  # taps count half at the start
            self.deform_align.weight.zero_()
            self.deform_align.weight[range(channels), range(channels), 1, 1] = 2

    def forward(self, features: Tensor, guide: Guide) -> Tensor:
        """Align and fill, B T C h w. Raises UsageError for a guide of other sizes."""
        guide = guide.fitting(features)
        trust, filled = guide.trust_there, [features[:, -1]]
        for frame in reversed(range(features.shape[1] - 1)):
            here, flow, hole = features[:, frame], guide.there[:, frame], guide.mask[:, frame]
            if self.align in ("deform", "none"):
                flow = torch.zeros_like(flow)
            aligned = self._aligned(filled[-1], told(here, filled[-1], flow, trust[:, frame], hole), flow)
            reached = (hole * trust[:, frame]).to(here.dtype)
            filled.append(here + reached * (aligned - here))
        return torch.stack(filled[::-1], 1)

    def _aligned(self, neighbour: Tensor, condition: Tensor, flow: Tensor) -> Tensor:
        if not self.copies:
            return self.deform_align(neighbour, condition, flow)
        residue = self.reach * self.conv_offset(condition).float().tanh()  # b 2g h w
        return _copied(neighbour, residue + flow.repeat(1, self.groups, 1, 1))


def told(here: Tensor, neighbour: Tensor, flow: Tensor, trust: Tensor, mask: Tensor) -> Tensor:
    """What the offsets are made from, B 2C+4 h w: both frames' features, the neighbour's along the flow, the flow, its trust, the mask."""
    warped = warp(neighbour.float(), flow, padding="zeros").to(here.dtype)
    return torch.cat((here, warped, *(part.to(here.dtype) for part in (flow, trust, mask))), 1)


def offset_net(told: int, hidden: int, made: int) -> nn.Sequential:
    """Four convolutions that make offsets from a condition; until trained they make zeros."""
    widths = (told, hidden, hidden, hidden, made)
    layers: list[nn.Module] = []
    for seen, wide in pairwise(widths):
        layers += [nn.Conv2d(seen, wide, 3, padding=1), nn.LeakyReLU(0.1)]
    nn.init.zeros_(layers[-2].weight)
    nn.init.zeros_(layers[-2].bias)
    return nn.Sequential(*layers[:-1])


def _copied(x: Tensor, flow: Tensor) -> Tensor:
    """The value of x B C h w nearest to each pixel plus `flow` B 2G h w, a flow for each group of channels; never beyond the edge."""
    batch, channels, height, width = x.shape
    groups = flow.shape[1] // 2
    places = pixel_grid(height, width, flow) + flow.reshape(batch * groups, 2, height, width)
    split = x.reshape(batch * groups, channels // groups, height, width).float()

    def taken(at: Tensor) -> Tensor:
        grid = torch.stack(((2 * at[:, 0] + 1) / width - 1, (2 * at[:, 1] + 1) / height - 1), 3)
        return functional.grid_sample(split, grid, padding_mode="border", align_corners=False)

    smooth = taken(places)
    copied = taken((places.detach() + 0.5).floor())  # grid_sample's own "nearest" takes halves to even numbers, each second value twice
    return (copied.detach() + smooth - smooth.detach()).view_as(x).to(x.dtype)


def _check_groups(channels: int, groups: int) -> None:
    if channels % groups:
        raise UsageError(f"{channels} channels cannot be split into {groups} deformable groups; their number must divide the channels")
