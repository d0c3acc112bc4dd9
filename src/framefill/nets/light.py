"""Light, a small network that mends a picture's filled holes: a U shape of convolutions with attention in space and time at its bottom.

It is given each frame with its hole already filled smoothly, and the mask, and answers what to change in the hole: a new net changes
nothing. Three levels (a quarter, an eighth and a sixteenth of the size) of residual convolutions; at the lowest, attention within
windows of 16 x 16 cells (256 pixels, every second one shifted by half) and, cell by cell, over all frames of the clip, with rotary
positions, so that any length and size will do. The shape is a U-Net's (Ronneberger et al., arXiv 1505.04597), the windows are Swin's
(Liu et al., arXiv 2103.14030).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

from framefill.errors import UsageError
from framefill.nets.layers import Attention, Mlp, Rotary, initialise_linear, rotary, set_to_zero

CELL = 4  # pixels of the first level's cells
STRIDE = 16  # pixels of the lowest level's cells
PERIOD = 100.0  # of the rotary positions


class Light(ModelMixin, ConfigMixin):
    """The network: `net(given, mask)` of any length and size; float B T 3 H W and B T 1 H W in (1 = unknown), B T 3 H W out.

    channels: of the three levels. blocks: residual pairs of convolutions on the way down and up at each of the first two levels. layers:
    of attention at the lowest. window: side in cells within which those look. Raises UsageError for numbers that cannot be.
    """

    _supports_gradient_checkpointing = False
    _no_split_modules = ("Mixer",)

    @register_to_config
    def __init__(
        self,
        channels: tuple[int, int, int] = (64, 112, 192),
        blocks: int = 2,
        layers: int = 3,
        num_heads: int = 6,
        mlp_ratio: float = 2.5,
        window: int = 16,
    ) -> None:
        super().__init__()
        first, second, third = channels
        if third % num_heads or third // num_heads % 2:
            raise UsageError(f"{third} channels cannot be split into {num_heads} heads of an even size")
        if window < 2 or window % 2:
            raise UsageError(f"window is {window} cells, expected an even number")
        self.stem = nn.Conv2d(4 * CELL**2, first, 3, padding=1)
        self.mask_token = nn.Parameter(torch.zeros(first))
        self.fine_in = _stack(first, blocks)
        self.down = nn.Conv2d(first, second, 2, 2)
        self.coarse_in = _stack(second, blocks)
        self.down_again = nn.Conv2d(second, third, 2, 2)
        self.mixers = nn.ModuleList(Mixer(third, num_heads, mlp_ratio, window, shifted=number % 2 == 1) for number in range(layers))
        self.up_again = nn.Conv2d(third, 4 * second, 1)
        self.coarse_out = _stack(second, blocks)
        self.up = nn.Conv2d(second, 4 * first, 1)
        self.fine_out = _stack(first, blocks)
        self.out = nn.Conv2d(first, 3 * CELL**2, 1)
        self._initialise()

    def forward(self, given: Tensor, mask: Tensor) -> Tensor:
        """Return what to add to `given` (in [-1, 1], hole filled by other means) where `mask` is 1, else zeros; B T 3 H W."""
        batch, frames, _, height, width = given.shape
        sides = (0, -width % STRIDE, 0, -height % STRIDE)
        seen = torch.cat((given, mask.to(given.dtype)), 2).flatten(0, 1)
        if any(sides):
            seen = functional.pad(seen, sides, mode="replicate")
        cells = functional.pixel_unshuffle(seen, CELL).contiguous(memory_format=torch.channels_last)
        hidden = cells[:, 3 * CELL**2 :].amin(1, keepdim=True)  # 1 in cells of which nothing is known
        fine = _through(self.fine_in, self.stem(cells) + hidden * self.mask_token.to(cells.dtype)[:, None, None])
        coarse = _through(self.coarse_in, self.down(fine))
        deep = self.down_again(coarse)
        tokens = deep.permute(0, 2, 3, 1).unflatten(0, (batch, frames))  # b t rows columns c
        for mixer in self.mixers:
            tokens = mixer(tokens)
        deep = tokens.flatten(0, 1).permute(0, 3, 1, 2)
        coarse = _through(self.coarse_out, coarse + functional.pixel_shuffle(self.up_again(deep), 2))
        fine = _through(self.fine_out, fine + functional.pixel_shuffle(self.up(coarse), 2))
        change = functional.pixel_shuffle(self.out(fine), CELL)[..., :height, :width].unflatten(0, (batch, frames))
        return change * mask.to(change.dtype)

    def _initialise(self) -> None:
        """Start as the identity: the last layer, and the last one of every branch, are zero."""
        initialise_linear(self)
        for part in self.modules():
            if isinstance(part, Residual):
                nn.init.zeros_(part.second.weight)
            elif isinstance(part, Mixer):
                for layer in (part.in_space.proj, part.in_time.proj, part.mlp[-1]):
                    set_to_zero(layer)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)


class Residual(nn.Module):
    """A pair of 3 x 3 convolutions beside their input; N C H W."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels)
        self.second = Convolution(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch."""
        return x + self.second(functional.silu(self.first(functional.silu(x))))


class Convolution(nn.Module):
    """A 3 x 3 convolution from C to C channels whose weight is kept as the matrix C, 9 C that it is to an optimiser of matrices (Muon)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 9 * channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Convolve N C H W with a border of zeros."""
        return functional.conv2d(x, self.weight.view(len(self.bias), -1, 3, 3), self.bias, padding=1)


class Mixer(nn.Module):
    """One layer at the lowest level: attention within windows of the picture, over the frames of each cell, and an MLP; B T H W C."""

    def __init__(self, size: int, heads: int, mlp_ratio: float, window: int, shifted: bool) -> None:
        super().__init__()
        self.window = window
        self.shifted = shifted
        self.space_norm = nn.LayerNorm(size)
        self.in_space = Attention(size, heads, normalise=True)
        self.time_norm = nn.LayerNorm(size)
        self.in_time = Attention(size, heads, normalise=True)
        self.mlp_norm = nn.LayerNorm(size)
        self.mlp = Mlp(size, mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """Pass the cells on."""
        x = x + self._looked_around(self.space_norm(x))
        past = self.time_norm(x).permute(0, 2, 3, 1, 4)  # b rows columns t c
        x = x + self.in_time(past, self._angles(torch.arange(x.shape[1], device=x.device)[:, None])).permute(0, 3, 1, 2, 4)
        return x + self.mlp(self.mlp_norm(x))

    def _looked_around(self, x: Tensor) -> Tensor:
        """Attention among the cells of each window; windows at the border hold what there is, so that no cell is made up."""
        rows, columns = x.shape[2:4]
        out = torch.empty_like(x)
        for top, bottom in self._cuts(rows):
            for left, right in self._cuts(columns):
                part = x[:, :, top:bottom, left:right]
                axes = [torch.arange(count, device=x.device) for count in part.shape[2:4]]
                mixed = self.in_space(part.flatten(2, 3), self._angles(torch.cartesian_prod(*axes)))
                out[:, :, top:bottom, left:right] = mixed.view_as(part)
        return out

    def _cuts(self, count: int) -> list[tuple[int, int]]:
        """Where the windows of one axis begin and end; a rest of less than half a window goes with the one before it."""
        if count <= self.window * 3 // 2:
            return [(0, count)]
        inner = list(range(self.window // 2 if self.shifted else self.window, count - self.window // 2 + 1, self.window))
        edges = [0, *inner, count]
        return list(pairwise(edges))

    def _angles(self, places: Tensor) -> Rotary:
        return rotary(places, self.in_space.qkv.in_features // self.in_space.heads, PERIOD)


PRESETS: dict[str, dict[str, int | float | tuple[int, int, int]]] = {
    "light": {},
    "light-small": {"channels": (32, 64, 96), "blocks": 1, "layers": 2, "num_heads": 3},
}


def _stack(channels: int, count: int) -> nn.ModuleList:
    return nn.ModuleList(Residual(channels) for _ in range(count))


def _through(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x)
    return x
