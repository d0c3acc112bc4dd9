"""TAEF2, a small autoencoder of pictures for the latents of FLUX.2: eight times smaller a side, 32 channels, 2.7 million weights.

Trained by Ollin Boer Bohan (github.com/madebyollin/taesd, MIT); the module is written from the names and shapes of its weights, which
are numbered as they are there. diffusers' AutoencoderTiny is its relative without the branch that looks at the whole picture.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

WIDTH, CHANNELS, WIDE, GROUPS = 64, 32, 256, 4  # of every layer, of the latents, inside the wide branch, of its norm
REACH = 3.0  # latents are held softly within -3 .. 3 before they are decoded


class Taef2(ModelMixin, ConfigMixin):
    """The autoencoder: `encode` pictures B 3 H W in [-1, 1] to latents B 32 H/8 W/8, and `decode` them; H and W are multiples of 8.

    Latents have a standard deviation of about 0.9 on video. scaling_factor and shift_factor are what a codec does to them.
    """

    FACTOR = 8

    @register_to_config
    def __init__(self, latent_channels: int = CHANNELS, scaling_factor: float = 1.0, shift_factor: float = 0.0) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            _conv(3, WIDTH), _Block(),
            _smaller(), _Block(), _Block(), _Block(),
            _smaller(), _Block(), _Block(), _Block(),
            _smaller(), _Block(True), _Block(True), _Block(True),
            _conv(WIDTH, latent_channels),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            _Held(), _conv(latent_channels, WIDTH), nn.ReLU(),
            _Block(True), _Block(True), _Block(True), _larger(), _plain(),
            _Block(), _Block(), _Block(), _larger(), _plain(),
            _Block(), _Block(), _Block(), _larger(), _plain(),
            _Block(), _conv(WIDTH, 3),
        )  # fmt: skip

    def encode(self, pictures: Tensor) -> Tensor:
        """Return latents B 32 H/8 W/8."""
        return self.encoder((pictures + 1) / 2)

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures B 3 H W; their values may leave [-1, 1] a little."""
        return self.decoder(latents) * 2 - 1


class _Block(nn.Module):
    """Three convolutions added to what they saw; `whole`: with a branch whose norm is over the whole picture."""

    def __init__(self, whole: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH))
        if whole:
            narrow, wide = nn.Conv2d(WIDE, WIDTH, 1, bias=False), nn.Conv2d(WIDTH, WIDE, 1, bias=False)
            self.pool: nn.Sequential | None = nn.Sequential(wide, nn.GroupNorm(GROUPS, WIDE), nn.ReLU(), narrow)
        else:
            self.pool = None

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return functional.relu(self.conv(x) + x)


class _Held(nn.Module):
    def forward(self, latents: Tensor) -> Tensor:
        return torch.tanh(latents / REACH) * REACH


def _conv(seen: int, made: int) -> nn.Conv2d:
    return nn.Conv2d(seen, made, 3, padding=1)


def _smaller() -> nn.Conv2d:
    return nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False)


def _plain() -> nn.Conv2d:
    return nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)


def _larger() -> nn.Upsample:
    return nn.Upsample(scale_factor=2)
