"""Between pixels and SVD's latents, in portions that memory holds.

The encoder works frame by frame. The decoder mixes frames in time: it is given chunks with frames to spare on either side, and, where a
picture is too large for it, tiles that are cross-faded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLTemporalDecoder
from torch import Tensor

from framefill.diffusion.noise import Generators, normal
from framefill.media.windows import Plan, tiles

TILE_OVERLAP = 8  # latents that two tiles share


@dataclass(frozen=True)
class Portions:
    """What the autoencoder is given at once: frames to encode, frames to decode, latents a side of what is decoded (None: all).

    overlap: frames that the decoder sees on either side of a chunk, that its borders do not flicker.
    """

    encode: int = 8
    decode: int | None = None
    tile: int | None = None
    overlap: int = 4


@torch.no_grad()
def encoded(vae: AutoencoderKLTemporalDecoder, video: Tensor, generator: Generators | None, at_once: int) -> Tensor:
    """Latents B T C h w of video B T 3 H W in [-1, 1], not scaled: drawn from the posterior, or its mean without a generator."""
    dtype = next(vae.encoder.parameters()).dtype
    parts = [vae.encode(part).latent_dist for part in video.flatten(0, 1).to(dtype).split(at_once)]
    mean = torch.cat([part.mean for part in parts]).unflatten(0, video.shape[:2]).to(video.dtype)
    if generator is None:
        return mean
    spread = torch.cat([part.std for part in parts]).unflatten(0, video.shape[:2]).to(video.dtype)
    return mean + spread * normal(mean.shape, generator, mean.device).to(mean)


@torch.no_grad()
def decoded(vae: AutoencoderKLTemporalDecoder, latents: Tensor, portions: Portions) -> Tensor:
    """Video B T 3 H W of latents B T C h w as `encoded` gives them; values may leave [-1, 1] a little."""
    parts = []
    for chunk in Plan("context", latents.shape[1] if portions.decode is None else portions.decode, portions.overlap).windows(
        latents.shape[1]
    ):
        shown = latents[:, chunk.start : chunk.stop]
        made = _decode(vae, shown) if portions.tile is None else _tiled(vae, shown, portions.tile)
        parts.append(made[:, chunk.kept].to(latents.dtype))
    return torch.cat(parts, 1)


def _decode(vae: AutoencoderKLTemporalDecoder, latents: Tensor) -> Tensor:
    shown = latents.to(next(vae.decoder.parameters()).dtype)
    return vae.decode(shown.flatten(0, 1), num_frames=shown.shape[1]).sample.unflatten(0, shown.shape[:2])


def _tiled(vae: AutoencoderKLTemporalDecoder, latents: Tensor, side: int) -> Tensor:
    """Decode tiles of `side` latents that overlap and are cross-faded."""
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    height, width = latents.shape[-2:]
    total = latents.new_zeros(*latents.shape[:2], 3, height * factor, width * factor)
    cut = tiles(height * factor, width * factor, side * factor, min(TILE_OVERLAP, side // 2) * factor)
    for tile in cut:
        rows, columns = (slice(part.start // factor, part.stop // factor) for part in tile.read)
        made = _decode(vae, latents[..., rows, columns])
        total[..., tile.read[0], tile.read[1]] += made.to(total) * torch.from_numpy(tile.weights()).to(total)
    return total
