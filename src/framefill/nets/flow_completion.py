"""Flow under holes by a learned net: what a clip's flows are where a mask hides them, from all of the clip's flows at once.

The recurrent flow completion of Zhou et al., ProPainter, ICCV 2023, section 3.1: an encoder over space and a little time, second-order
deformable propagation both ways at an eighth of the size (Chan et al., BasicVSR++, CVPR 2022, figure 2), and a decoder frame by frame.
Tensors have the names of the published network's, whose weights are free for non-commercial use only and come from elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from framefill.errors import UsageError
from framefill.nets.dna import Alignment

WIDTH, GROUPS, REACH = 128, 16, 5.0  # channels where flow is carried, groups that share offsets, farthest learned offset in pixels
FACTOR = 8  # sides are padded to a multiple of this
LEAD, FOLLOW = "backward_", "forward_"


class FlowCompletion(nn.Module):
    """The network: `net(there, back, mask)` completes flows both ways; 5,079,555 weights, the edge head of its training included.

    Flows are float B T-1 2 H W in pixels (x, y), `mask` float B T 1 H W, 1 where a frame is unknown. What is measured outside the mask of
    the frame that a flow starts from stays as it is, to the bit; what stands inside is not read. Both directions pass the same net, the
    flows back in reversed time, so that a clip turned round has its flows turned round.
    """

    def __init__(self) -> None:
        super().__init__()
        entrance = nn.Conv3d(3, 32, (1, 5, 5), (1, 2, 2), (0, 2, 2), padding_mode="replicate")
        self.downsample = nn.Sequential(entrance, nn.LeakyReLU(0.2))
        self.encoder1 = nn.Sequential(_Pseudo3d(32, 32, 1), nn.LeakyReLU(0.2), _Pseudo3d(32, 64, 2), nn.LeakyReLU(0.2))
        self.encoder2 = nn.Sequential(_Pseudo3d(64, 64, 1), nn.LeakyReLU(0.2), _Pseudo3d(64, WIDTH, 2), nn.LeakyReLU(0.2))
        wide: list[nn.Module] = []
        for step in (3, 2, 1):
            wide += [nn.Conv3d(WIDTH, WIDTH, (1, 3, 3), padding=(0, step, step), dilation=(1, step, step)), nn.LeakyReLU(0.2)]
        self.mid_dilation = nn.Sequential(*wide)
        self.feat_prop_module = _Propagation()
        self.decoder2 = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1), nn.LeakyReLU(0.2), _Enlarged(128, 64), nn.LeakyReLU(0.2))
        self.decoder1 = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.LeakyReLU(0.2), _Enlarged(64, 32), nn.LeakyReLU(0.2))
        self.upsample = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.LeakyReLU(0.2), _Enlarged(32, 2))
        self.edgeDetector = _Edges()

    def forward(self, there: Tensor, back: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Complete flows both ways. Raises UsageError for shapes that do not fit together, and for a single frame."""
        batch, pairs, _, height, width = there.shape
        if back.shape != there.shape or mask.shape != (batch, pairs + 1, 1, height, width) or not pairs:
            came = f"{tuple(there.shape)} and {tuple(back.shape)} with a mask {tuple(mask.shape)}"
            raise UsageError(f"flows are {came}; expected twice B T-1 2 H W and B T 1 H W with two frames or more")
        return self.completed(there, mask[:, :-1]), self.completed(back.flip(1), mask[:, 1:].flip(1)).flip(1)

    def completed(self, flow: Tensor, hole: Tensor) -> Tensor:
        """Complete flows B N 2 H W in order of time, where `hole` B N 1 H W is 1."""
        return torch.where(hole > 0, self.predicted(flow, hole), flow)

    def predicted(self, flow: Tensor, hole: Tensor) -> Tensor:
        """What the net makes of all the flow, B N 2 H W: its training's target is the flow inside and outside."""
        batch, count, _, height, width = flow.shape
        seen = torch.cat((flow.masked_fill(hole > 0, 0), hole), 2).flatten(0, 1)
        seen = functional.pad(seen, (0, -width % FACTOR, 0, -height % FACTOR), mode="replicate")
        fine = self.encoder1(self.downsample(seen.unflatten(0, (batch, count)).transpose(1, 2)))  # b c n h/4 w/4
        coarse = self.mid_dilation(self.encoder2(fine)).transpose(1, 2)
        carried = self.feat_prop_module(coarse).flatten(0, 1)
        decoded = self.decoder2(carried) + fine.transpose(1, 2).flatten(0, 1)
        return self.upsample(self.decoder1(decoded))[..., :height, :width].unflatten(0, (batch, count))

    def edges(self, flow: Tensor) -> Tensor:
        """How likely each pixel of flows B N 2 H W is at the edge of a motion, B N 1 H W in 0..1; for its training's loss only."""
        return self.edgeDetector(flow.flatten(0, 1)).unflatten(0, flow.shape[:2])


class _Pseudo3d(nn.Module):
    """A convolution over space, then one over time that looks two frames on and two back."""

    def __init__(self, seen: int, made: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv3d(seen, made, (1, 3, 3), (1, stride, stride), (0, 1, 1)), nn.LeakyReLU(0.2))
        self.conv2 = nn.Sequential(nn.Conv3d(made, made, (3, 1, 1), padding=(2, 0, 0), dilation=(2, 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


class _Propagation(nn.Module):
    """Carries features B N 128 h w from the last to the first and back, each from the two made before, along learned offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.deform_align = nn.ModuleDict({
            name: Alignment(2 * WIDTH, WIDTH, 3 * WIDTH, groups=GROUPS, hidden=WIDTH, reach=REACH) for name in (LEAD, FOLLOW)
        })  # fmt: skip
        self.backbone = nn.ModuleDict({name: _mixer(seen * WIDTH) for name, seen in ((LEAD, 2), (FOLLOW, 3))})
        self.fusion = nn.Conv2d(2 * WIDTH, WIDTH, 1)

    def forward(self, features: Tensor) -> Tensor:
        frames = list(features.unbind(1))
        led = self._passed(LEAD, [(frame,) for frame in reversed(frames)])[::-1]
        followed = self._passed(FOLLOW, list(zip(frames, led, strict=True)))
        joined = [self.fusion(torch.cat(both, 1)) for both in zip(led, followed, strict=True)]
        return features + torch.stack(joined, 1)

    def _passed(self, name: str, told: list[tuple[Tensor, ...]]) -> list[Tensor]:
        """One pass over what each frame tells, its own features first."""
        nothing = torch.zeros_like(told[0][0])
        before, earlier = nothing, nothing
        made: list[Tensor] = []
        for parts in told:
            carried = nothing
            if made:
                condition = torch.cat((before, parts[0], earlier), 1)
                carried = self.deform_align[name](torch.cat((before, earlier), 1), condition)
            before, earlier = carried + self.backbone[name](torch.cat((*parts, carried), 1)), before
            made.append(before)
        return made


class _Enlarged(nn.Module):
    """Twice the size, then a convolution."""

    def __init__(self, seen: int, made: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(seen, made, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))


class _Edges(nn.Module):
    """Edges of a flow B 2 H W, as chances B 1 H W."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Sequential(nn.Conv2d(2, 16, 3, padding=1), nn.LeakyReLU(0.2))
        self.mid_layer_1 = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.LeakyReLU(0.2))
        self.mid_layer_2 = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1))
        self.out_layer = nn.Conv2d(16, 1, 1)

    def forward(self, flow: Tensor) -> Tensor:
        features = self.projection(flow)
        mixed = functional.leaky_relu(features + self.mid_layer_2(self.mid_layer_1(features)), 0.01)
        return self.out_layer(mixed).sigmoid()


def _mixer(seen: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(seen, WIDTH, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(WIDTH, WIDTH, 3, padding=1))
