"""The published light networks for stereo holes, to the last parameter: gated MLPs in windows of the picture and over twelve frames.

A U shape of two levels (a quarter and an eighth of the size) without attention. Spatial blocks mix the cells of a window of 64 pixels by
one learned matrix, temporal blocks the twelve frames of one cell; the unit is the gMLP of Liu et al., Pay Attention to MLPs (arXiv
2105.08050). Modules carry the names of the published weights (`iw3_light_video_inpaint_v1`, `iw3_light_inpaint_v1` of nunif), so that
those load as they are. The arithmetic is theirs too, down to a block's input being added twice and windows shifted into a border of zeros.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

from framefill.errors import UsageError

CELL = 4  # pixels of a cell of the first level
GRID = 64  # pixels of a window on both levels; sides must be multiples
CERTAIN = 0.99  # a cell with a pixel of a larger share unknown is given the mask's vector
FRAMES = 12
Config = dict[str, int]


class LightCompat(ModelMixin, ConfigMixin):
    """The network: `net(x, soft)`, x float B T 3 H W in [-1, 1] with its hole black, soft B T 1 H W; gives B T 3 H W, about [0, 1].

    channels: of the first level, the second has twice as many. expansion: of the second level's spatial gates (the video nets' is 1, or 2
    in the larger ones). frames: T, which is fixed by the weights; 1 is the net for single pictures, which has no temporal blocks.
    """

    _no_split_modules = ("Block",)

    @register_to_config
    def __init__(self, channels: int = 96, expansion: int = 1, frames: int = FRAMES) -> None:
        super().__init__()
        if channels % 2 or min(channels, expansion, frames) < 1:
            raise UsageError(f"light-compat with {channels} channels, expansion {expansion}, {frames} frames cannot be; channels are even")
        deep = 2 * channels
        self.at_once = 2  # frames that pass the spatial blocks together when no gradient is wanted; bounds the memory
        self.mask_bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        still = frames == 1
        if still:
            self.patch = nn.Sequential(nn.Conv2d(3 * CELL**2, channels, 1), nn.LeakyReLU(0.2))
            self.to_image = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 3 * CELL**2, 3))
            shifts: tuple[bool | None, ...] = (False, True, False, True)
        else:
            self.patch = nn.Conv2d(3, channels, CELL, CELL)
            self.to_image = nn.Conv2d(channels, 3 * CELL**2, 1)
            shifts = (True, None, False, None, True)  # None: over time
        self.enc1 = Block(channels, Windows(channels, 2, GRID // CELL, shifted=still))
        self.down = nn.Conv2d(channels, deep, 2, 2)
        self.enc2 = nn.Sequential(
            *(
                Block(deep, OverTime(deep, 2, frames) if shift is None else Windows(deep, expansion, GRID // CELL // 2, shift))
                for shift in shifts
            )
        )
        self.up = nn.Conv2d(deep, 4 * channels, 1)
        self.dec1 = Block(channels, Windows(channels, 2, GRID // CELL, shifted=False))
        self._initialise()

    def forward(self, x: Tensor, soft: Tensor, wanted: slice = slice(None)) -> Tensor:
        """Estimate the `wanted` frames, B T 3 H W; cells that `soft` marks are not looked at. Raises UsageError for another T or size."""
        batch, frames, _, height, width = x.shape
        if frames != self.config.frames:
            raise UsageError(f"the clip has {frames} frames, this net sees {self.config.frames} at a time")
        if height % GRID or width % GRID:
            raise UsageError(f"the clip is {width}x{height}, expected multiples of {GRID}; pad it first")
        # Decided before any rounding to fewer bits: in bf16 the threshold would be 0.988 or 0.992.
        hidden = functional.max_pool2d(soft.flatten(0, 1), CELL) > CERTAIN
        clips = zip(x.to(self.dtype), hidden.unflatten(0, (batch, frames)), strict=True)
        return torch.stack([self._clip(*parts, wanted) for parts in clips])

    def _clip(self, x: Tensor, hidden: Tensor, wanted: slice) -> Tensor:
        """One clip, T 3 H W and T 1 h w: spatial blocks take a few frames at a time, temporal ones all, after those only `wanted`."""
        portion = len(x) if torch.is_grad_enabled() else self.at_once
        fine = torch.cat([self._entered(*parts) for parts in zip(x.split(portion), hidden.split(portion), strict=True)])
        coarse = torch.cat([self.down(part) for part in fine.split(portion)])
        last = max((number for number, block in enumerate(self.enc2) if isinstance(block.gmlp, OverTime)), default=-1)
        for block in self.enc2[: last + 1]:
            coarse = block(coarse) if isinstance(block.gmlp, OverTime) else torch.cat([block(part) for part in coarse.split(portion)])
        made = []
        for skip, part in zip(fine[wanted].split(portion), coarse[wanted].split(portion), strict=True):
            deep = self.enc2[last + 1 :](part)
            raised = self.dec1(skip + functional.pixel_shuffle(self.up(deep), 2))
            made.append(functional.pixel_shuffle(self._drawn(raised), CELL))
        return torch.cat(made)

    def _entered(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Frames as cells of the first level, N C h w, hidden ones replaced, after the first block."""
        if isinstance(self.patch, nn.Sequential):
            cells = self.patch(functional.pixel_unshuffle(x, CELL))
        else:
            cells = functional.leaky_relu(self.patch(x), 0.1)
        cells = torch.where(hidden, self.mask_bias.to(cells.dtype), cells)
        return self.enc1(cells.contiguous(memory_format=torch.channels_last))

    def _drawn(self, cells: Tensor) -> Tensor:
        return self.to_image(_edged(cells) if isinstance(self.to_image, nn.Sequential) else cells)

    @torch.no_grad()
    def _initialise(self) -> None:
        nn.init.trunc_normal_(self.mask_bias, 0, 0.01)
        last = self.to_image[1] if isinstance(self.to_image, nn.Sequential) else self.to_image
        for convolution in (self.patch[0] if isinstance(self.patch, nn.Sequential) else self.patch, last):
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(convolution.bias)
        # A cell's pixels start out alike, so that the untrained net draws no grid (ICNR; Aitken et al., arXiv 1707.02937).
        last.weight.copy_(last.weight[:: CELL**2].repeat_interleave(CELL**2, 0))


class Block(nn.Module):
    """Twice the input plus the gate's answer, then a gated convolution beside it; N C H W."""

    def __init__(self, size: int, gate: Windows | OverTime) -> None:
        super().__init__()
        self.gmlp = gate
        self.norm1 = nn.LayerNorm(size, bias=False)
        self.norm2 = nn.LayerNorm(gate.gmlp.inner, bias=False)
        self.glu_conv = GatedConvolution(size)

    def forward(self, x: Tensor) -> Tensor:
        """Pass the cells on."""
        x = x + self.gmlp(x, self.norm1, self.norm2)
        return x + self.glu_conv(x)


class GatedConvolution(nn.Module):
    """1x1 convolution, half of it gated by the other, 3x3 convolution; edges are repeated. N C H W."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.w1 = nn.Conv2d(size, size, 1)
        self.w2 = nn.Conv2d(size // 2, size, 3)
        for convolution in (self.w1, self.w2):
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(convolution.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branch, without its input."""
        return self.w2(_edged(functional.glu(self.w1(x), 1)))


class Gate(nn.Module):
    """The gMLP's weights: E -> 2 r E, half of it mixed among N tokens and multiplied with the other, r E -> E."""

    def __init__(self, size: int, expansion: int, tokens: int) -> None:
        super().__init__()
        self.inner = size * expansion
        self.proj_in = nn.Linear(size, 2 * self.inner)
        self.proj_spatial = nn.Conv1d(tokens, tokens, 1)
        self.proj_out = nn.Linear(self.inner, size)
        for layer in (self.proj_in, self.proj_out):
            nn.init.trunc_normal_(layer.weight, 0, 0.02)
            nn.init.zeros_(layer.bias)
        nn.init.uniform_(self.proj_spatial.weight, -1e-3 / size, 1e-3 / size)
        nn.init.ones_(self.proj_spatial.bias)

    def forward(self, tokens: Tensor, norm: nn.LayerNorm, mixed_norm: nn.LayerNorm) -> Tensor:
        """Tokens ... N M E, mixed along N for each of the M alike; their input is added."""
        kept, mixed = functional.gelu(self.proj_in(norm(tokens))).chunk(2, -1)
        mixed = mixed_norm(mixed)
        matrix, bias = self.proj_spatial.weight[..., 0], self.proj_spatial.bias[:, None]
        mixed = (matrix @ mixed.flatten(-2) + bias).view_as(mixed)
        return tokens + self.proj_out(kept * mixed)


class Windows(nn.Module):
    """A gate within square windows of the picture; `shifted` ones lie half a window off and see zeros beyond the border."""

    def __init__(self, size: int, expansion: int, side: int, shifted: bool) -> None:
        super().__init__()
        self.side = side
        self.shifted = shifted
        self.gmlp = Gate(size, expansion, side * side)

    def forward(self, x: Tensor, norm: nn.LayerNorm, mixed_norm: nn.LayerNorm) -> Tensor:
        """N C H W to the same."""
        rest = self.side // 2 if self.shifted else 0
        cells = functional.pad(x, (rest, rest, rest, rest)).permute(0, 2, 3, 1)  # n h w c
        side = self.side
        parts = cells.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3)  # n rows columns side side c
        shape = parts.shape
        made = self.gmlp(parts.reshape(-1, side * side, 1, shape[-1]), norm, mixed_norm).view(shape)
        cells = made.transpose(2, 3).flatten(3, 4).flatten(1, 2)  # n h w c
        return cells[:, rest : cells.shape[1] - rest, rest : cells.shape[2] - rest].permute(0, 3, 1, 2)


class OverTime(nn.Module):
    """A gate over the frames of each cell; T C H W, all frames of one clip."""

    def __init__(self, size: int, expansion: int, frames: int) -> None:
        super().__init__()
        self.gmlp = Gate(size, expansion, frames)

    def forward(self, x: Tensor, norm: nn.LayerNorm, mixed_norm: nn.LayerNorm) -> Tensor:
        """T C H W to the same."""
        cells = x.permute(0, 2, 3, 1)  # t h w c
        made = self.gmlp(cells.flatten(1, 2), norm, mixed_norm)
        return made.view_as(cells).permute(0, 3, 1, 2)


PRESETS: dict[str, Config] = {
    "light-compat": {},
    "light-compat-medium": {"channels": 128, "expansion": 2},
    "light-compat-large": {"channels": 192, "expansion": 2},
    "light-compat-image": {"expansion": 2, "frames": 1},
}


def _edged(x: Tensor) -> Tensor:
    """Repeat the edge by one cell on every side. No gradient passes the copies, as in the published training."""
    wide = functional.pad(x.detach(), (1, 1, 1, 1), mode="replicate")
    return wide + functional.pad(x - x.detach(), (1, 1, 1, 1)) if x.requires_grad else wide
