"""Stable Video Diffusion at the size of a test: the real classes with random weights, and a clip to fill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import AutoencoderKLTemporalDecoder
from numpy.typing import NDArray
from scenes import seen_at, texture

from framefill.families.known import HOLES

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection

    from framefill.families.fff.pipeline import FFFPipeline
    from framefill.nets.svd import SVDUNet

UNET: dict[str, object] = {  # that of diffusers' own tests of this net, with fewer layers and heads
    "sample_size": 32,
    "in_channels": 8,
    "out_channels": 4,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
    "up_block_types": ("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
    "num_attention_heads": 2,
    "cross_attention_dim": 32,
    "addition_time_embed_dim": 32,
    "projection_class_embeddings_input_dim": 96,
    "num_frames": 6,
}
VAE: dict[str, object] = {
    "block_out_channels": (32, 64),
    "down_block_types": ("DownEncoderBlock2D", "DownEncoderBlock2D"),
    "latent_channels": 4,
    "layers_per_block": 1,
}
CLIP: dict[str, object] = {
    "hidden_size": 32,
    "projection_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "intermediate_size": 37,
    "patch_size": 8,
}


def tiny_unet(seed: int = 0, *, refiner: bool = True, awake: bool = False, **over: object) -> SVDUNet:
    """A net of random weights; `over` changes its configuration. awake: the refiner's last convolution, zero at first, is random too."""
    from framefill.nets.svd import SVDUNet

    torch.manual_seed(seed)
    net = SVDUNet(**{**UNET, **over}, refiner=refiner).eval()
    if awake:
        with torch.no_grad():
            for weight in net.noise_refiner.parameters():
                if not weight.any():
                    weight.copy_(0.05 * torch.randn_like(weight))
    return net


def tiny_vae(seed: int = 1) -> AutoencoderKLTemporalDecoder:
    """An autoencoder of random weights that halves each side: not 8, so that a hard-coded 8 is found."""
    torch.manual_seed(seed)
    return AutoencoderKLTemporalDecoder(**VAE).eval()


def tiny_clip(seed: int = 2) -> CLIPVisionModelWithProjection:
    """An image encoder of random weights for pictures of 32x32."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(seed)
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP)).eval()


def tiny_pipeline(
    *,
    refiner: bool = True,
    awake: bool = False,
    clip: bool = True,
    window: int = 6,
    size: int = 16,
    steps: int = 2,
    tasks: Sequence[str] = (*HOLES, "outpaint"),
) -> FFFPipeline:
    """A pipeline of the three; with clip False the token is zero."""
    from framefill.families.fff.pipeline import FFFPipeline
    from framefill.families.fff.token import Embedder

    embedder = Embedder(tiny_clip()) if clip else None
    unet = tiny_unet(refiner=refiner, awake=awake)
    return FFFPipeline(unet, tiny_vae(), embedder, tasks=tasks, window=window, size=size, steps=steps)


def saved(folder: Path, pipeline: FFFPipeline | None = None) -> Path:
    """A folder that holds a tiny pipeline."""
    (pipeline or tiny_pipeline(awake=True)).save_pretrained(folder)
    return folder


def clip_with_hole(count: int = 6, height: int = 32, width: int = 48, step: int = 2) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A camera that pans over a texture by `step` pixels a frame, and a box that hides the same part of every picture."""
    wide = texture(3, height, width + step * count)
    frames = seen_at(wide, (height, width), [(step * i, 0) for i in range(count)]).copy()
    mask = np.zeros(frames.shape[:3], np.bool_)
    mask[:, height // 4 : height // 2, width // 4 : width // 2] = True
    return frames, mask
