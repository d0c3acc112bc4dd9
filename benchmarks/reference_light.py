"""The published light video net as one first writes it down, and the way its program runs it: the plain side of the benchmark.

float32, channels first, one operation after the other: 12 frames are padded by 1 to 64 pixels on the right and below, the spatial blocks
take two frames at a time, all of the picture is computed, and of each window the middle six frames are kept, so that every frame is
computed twice. Its parameters carry the published names, so that the weights of framefill's net load into it, strictly, and the two can
be held against each other.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

FRAMES, CONTEXT, AT_ONCE = 12, 3, 2


class PlainLight(nn.Module):
    """`net(x, soft)`: frames in [-1, 1] 12 3 H W with their hole black and the soft mask 12 1 H W; gives frames in [0, 1]."""

    def __init__(self, channels: int = 96, expansion: int = 1) -> None:
        super().__init__()
        deep = 2 * channels
        self.mask_bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.patch = nn.Conv2d(3, channels, 4, 4)
        self.enc1 = PlainBlock(channels, 2, 16, False)
        self.down = nn.Conv2d(channels, deep, 2, 2)
        self.enc2 = nn.ModuleList(
            [
                PlainBlock(deep, expansion, 8, True),
                PlainBlock(deep, 2, 0, False),
                PlainBlock(deep, expansion, 8, False),
                PlainBlock(deep, 2, 0, False),
                PlainBlock(deep, expansion, 8, True),
            ]
        )
        self.up = nn.Conv2d(deep, 4 * channels, 1)
        self.dec1 = PlainBlock(channels, 2, 16, False)
        self.to_image = nn.Conv2d(channels, 48, 1)

    def forward(self, x: Tensor, soft: Tensor) -> Tensor:
        """Estimate twelve frames."""
        hidden = functional.pixel_unshuffle(soft, 4).amax(1, keepdim=True) > 0.99
        skips = []
        for start in range(0, FRAMES, AT_ONCE):
            part = slice(start, start + AT_ONCE)
            cells = functional.leaky_relu(self.patch(x[part]), 0.1)
            skips.append(self.enc1(torch.where(hidden[part], self.mask_bias, cells)))
        deep = torch.cat([self.down(skip) for skip in skips])
        for number, block in enumerate(self.enc2):
            deep = block(deep) if number % 2 else torch.cat([block(part) for part in deep.split(AT_ONCE)])
        made = []
        for skip, part in zip(skips, deep.split(AT_ONCE), strict=True):
            raised = functional.pixel_shuffle(self.up(part), 2)
            made.append(functional.pixel_shuffle(self.to_image(self.dec1(skip + raised)), 4))
        return torch.cat(made)


class PlainBlock(nn.Module):
    """A gated MLP in windows of `side` cells, or, where `side` is 0, over the frames; a gated convolution."""

    def __init__(self, size: int, expansion: int, side: int, shifted: bool) -> None:
        super().__init__()
        self.side, self.shifted = side, shifted
        self.gmlp = nn.ModuleDict({"gmlp": PlainGate(size, expansion, side * side or FRAMES)})
        self.norm1 = nn.LayerNorm(size, bias=False)
        self.norm2 = nn.LayerNorm(size * expansion, bias=False)
        self.glu_conv = nn.ModuleDict({"w1": nn.Conv2d(size, size, 1), "w2": nn.Conv2d(size // 2, size, 3)})

    def forward(self, x: Tensor) -> Tensor:
        """Pass N C H W on."""
        x = x + (self.in_windows(x) if self.side else self.over_time(x))
        gated = functional.glu(self.glu_conv["w1"](x), 1)
        return x + self.glu_conv["w2"](functional.pad(gated, (1, 1, 1, 1), mode="replicate"))

    def in_windows(self, x: Tensor) -> Tensor:
        """The gate within each window."""
        half = self.side // 2 if self.shifted else 0
        x = functional.pad(x, (half, half, half, half))
        count, channels, height, width = x.shape
        rows, columns, side = height // self.side, width // self.side, self.side
        tokens = x.reshape(count, channels, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1).reshape(-1, side * side, channels)
        tokens = self.gmlp["gmlp"](tokens, self.norm1, self.norm2)
        x = tokens.reshape(count, rows, columns, side, side, channels).permute(0, 5, 1, 3, 2, 4).reshape(count, channels, height, width)
        return x[:, :, half : height - half, half : width - half]

    def over_time(self, x: Tensor) -> Tensor:
        """The gate over the frames of each cell."""
        count, channels, height, width = x.shape
        tokens = x.permute(2, 3, 0, 1).reshape(-1, count, channels)
        tokens = self.gmlp["gmlp"](tokens, self.norm1, self.norm2)
        return tokens.reshape(height, width, count, channels).permute(2, 3, 0, 1)


class PlainGate(nn.Module):
    """The gated MLP on tokens B N C."""

    def __init__(self, size: int, expansion: int, tokens: int) -> None:
        super().__init__()
        self.proj_in = nn.Linear(size, 2 * expansion * size)
        self.proj_spatial = nn.Conv1d(tokens, tokens, 1)
        self.proj_out = nn.Linear(expansion * size, size)

    def forward(self, x: Tensor, first: nn.LayerNorm, second: nn.LayerNorm) -> Tensor:
        """Mix the tokens and add them."""
        kept, mixed = functional.gelu(self.proj_in(first(x))).chunk(2, -1)
        return x + self.proj_out(kept * self.proj_spatial(second(mixed)))


def window_made(net: PlainLight, frames: Tensor, mask: Tensor) -> Tensor:
    """Twelve frames in [0, 1] 12 3 H W with the hole `mask` 12 1 H W (0 or 1) made, as published: the rim is blended."""
    source = frames * (1 - mask)
    distance = torch.linspace(-7, 7, 15, dtype=frames.dtype)
    bell = torch.exp(-0.5 * (distance / 2.6) ** 2)
    bell = bell / bell.sum()
    wide = functional.pad(mask, (7, 7, 7, 7), mode="replicate")
    blurred = functional.conv2d(functional.conv2d(wide, bell.view(1, 1, 1, 15)), bell.view(1, 1, 15, 1))
    soft = torch.clamp(blurred + mask, 0, 1)
    height, width = frames.shape[-2:]
    sides = (0, 64 - width % 64, 0, 64 - height % 64)
    x = functional.pad((source - 0.5) / 0.5, sides, mode="replicate")
    made = net(x, functional.pad(soft, sides, mode="replicate"))[..., :height, :width]
    return torch.clamp(source * (1 - soft) + made * soft, 0, 1)


@torch.no_grad()
def stream_made(net: PlainLight, frames: Iterator[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
    """Frames (3 H W in [0, 1], mask 1 H W) of one shot, made one after the other by a buffer of twelve, three of context on either side."""
    pictures: list[Tensor] = []
    masks: list[Tensor] = []
    for picture, mask in frames:
        for _ in range(1 if pictures else 1 + CONTEXT):
            pictures.append(picture)
            masks.append(mask)
        if len(pictures) == FRAMES:
            yield from window_made(net, torch.stack(pictures), torch.stack(masks))[CONTEXT : FRAMES - CONTEXT]
            del pictures[: FRAMES - 2 * CONTEXT], masks[: FRAMES - 2 * CONTEXT]
    held = len(pictures)
    if held > CONTEXT:
        missing = FRAMES - held
        made = window_made(net, torch.stack(pictures + pictures[-1:] * missing), torch.stack(masks + masks[-1:] * missing))
        yield from made[CONTEXT:held]
