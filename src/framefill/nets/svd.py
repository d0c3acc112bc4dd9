"""Stable Video Diffusion's network, diffusers' own class, with the refiner behind its first convolution.

Blattmann et al., Stable Video Diffusion (arXiv 2311.15127); the refiner as in FFF-VDI, AAAI 2025 (arXiv 2408.11402). Weights are those
of the stock network, plus `noise_refiner.*` where there is a refiner: 32 tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal, get_args

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel, UNetSpatioTemporalConditionOutput
from torch import Tensor, nn

from framefill.errors import FramefillError, UsageError, WeightsError
from framefill.nets.guide import Guide, batched
from framefill.nets.refiner import Refiner
from framefill.nets.svd_files import stored

__all__ = ["Guide", "SVDUNet", "Which", "batched", "choose_trained", "load_unet", "widened"]

REFINER = "noise_refiner"
TEMPORAL = "temporal_transformer_block"
Which = Literal["release", "refiner", "temporal", "all"]

# What the hook sees of the call that is under way; each thread and each task has its own.
_told: ContextVar[Guide | None] = ContextVar("guide", default=None)


class SVDUNet(UNetSpatioTemporalConditionModel, PeftAdapterMixin):
    """The network of Stable Video Diffusion: all arguments but the last are diffusers', with the sizes of SVD-XT as their defaults.

    refiner: whether features pass the refiner (`framefill.nets.refiner`) behind the first convolution, in calls that bring a guide.
    """

    @register_to_config
    def __init__(  # noqa: PLR0913, PLR0917 - diffusers reads the configuration from this signature
        self,
        sample_size: int | None = None,
        in_channels: int = 8,
        out_channels: int = 4,
        down_block_types: tuple[str, ...] = (*("CrossAttnDownBlockSpatioTemporal",) * 3, "DownBlockSpatioTemporal"),
        up_block_types: tuple[str, ...] = ("UpBlockSpatioTemporal", *("CrossAttnUpBlockSpatioTemporal",) * 3),
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        addition_time_embed_dim: int = 256,
        projection_class_embeddings_input_dim: int = 768,
        layers_per_block: int | tuple[int, ...] = 2,
        cross_attention_dim: int | tuple[int, ...] = 1024,
        transformer_layers_per_block: int | tuple[int, ...] = 1,
        num_attention_heads: int | tuple[int, ...] = (5, 10, 20, 20),
        num_frames: int = 25,
        refiner: bool = False,
    ) -> None:
        super().__init__(
            sample_size=sample_size,
            in_channels=in_channels,
            out_channels=out_channels,
            down_block_types=down_block_types,
            up_block_types=up_block_types,
            block_out_channels=block_out_channels,
            addition_time_embed_dim=addition_time_embed_dim,
            projection_class_embeddings_input_dim=projection_class_embeddings_input_dim,
            layers_per_block=layers_per_block,
            cross_attention_dim=cross_attention_dim,
            transformer_layers_per_block=transformer_layers_per_block,
            num_attention_heads=num_attention_heads,
            num_frames=num_frames,
        )
        if refiner:
            self.noise_refiner = Refiner(block_out_channels[0])
        self._watch_entrance()

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        added_time_ids: Tensor,
        return_dict: bool = True,
        *,
        guide: Guide | None = None,
    ) -> UNetSpatioTemporalConditionOutput | tuple[Tensor]:
        """Run the network on `sample` B T C h w; without a guide it is the stock network, bit for bit.

        `timestep` is 0.25 ln(sigma), B or one; `encoder_hidden_states` B 1 D; `added_time_ids` B 3 (fps - 1, motion, noise level). A guide
        for fewer clips is repeated along the batch. Raises UsageError for a guide where there is no refiner, or of other sizes.
        """
        if guide is not None and not self.config.refiner:
            raise UsageError("this network has no refiner to guide; load it with refiner=True, or call it without a guide")
        with _telling(guide and guide.fitting(sample)):
            return super().forward(sample, timestep, encoder_hidden_states, added_time_ids, return_dict)

    def _watch_entrance(self) -> None:
        """Pass what the first convolution makes through the refiner."""
        self.conv_in.register_forward_hook(self._refined)

    def _refined(self, entrance: nn.Module, seen: tuple[Tensor, ...], features: Tensor) -> Tensor:
        """What leaves the first convolution, B*T C h w, refined."""
        guide = _told.get()
        if guide is None:
            return features
        return self.noise_refiner(features.unflatten(0, guide.mask.shape[:2]), guide).flatten(0, 1)


def load_unet(folder: str | Path, *, refiner: bool | None = None, dtype: torch.dtype = torch.float32) -> SVDUNet:
    """Read a network from a folder on this machine: SVD's or SVD-XT's own, or one with a refiner; every weight must be there, no other.

    refiner: None for one where the folder has one, True for one anyway (a new one adds nothing until it is trained), False for none.
    Single files and shards are read, in full precision or as fp16 or bf16 variants, and turned into `dtype`. Raises WeightsError for
    anything else.
    """
    found = stored(folder)
    own = any(name.startswith(REFINER) for name in found.shapes)
    try:
        with torch.device("meta"):
            unet = SVDUNet.from_config({**found.config, "refiner": own})
    except (TypeError, ValueError, RuntimeError, KeyError, FramefillError) as error:
        raise WeightsError(f"config.json in {folder} makes no network of Stable Video Diffusion: {str(error).splitlines()[0]}") from error
    found.check({name: tuple(weight.shape) for name, weight in unet.state_dict().items()})
    wanted = own if refiner is None else refiner
    if own and not wanted:
        del unet.noise_refiner
    # Copied, for a file's tensors lie at any address, and kernels round otherwise there.
    tensors = {name: tensor.to(dtype, copy=True) for name, tensor in found.tensors() if wanted or not name.startswith(REFINER)}
    unet.load_state_dict(tensors, assign=True)
    if wanted and not own:
        unet.noise_refiner = Refiner(unet.config.block_out_channels[0]).to(dtype)
    unet.register_to_config(refiner=wanted)
    return unet.eval()


def widened(unet: SVDUNet, in_channels: int = 8) -> SVDUNet:
    """Let a network see more channels behind those it sees already, in place; what it makes of those is unchanged until it is trained.

    Raises UsageError for fewer channels than it has.
    """
    old = unet.conv_in
    if in_channels < old.in_channels:
        raise UsageError(f"the network sees {old.in_channels} channels; {in_channels} would be fewer, and it can only be widened")
    new = nn.Conv2d(in_channels, old.out_channels, 3, padding=1, device=old.weight.device, dtype=old.weight.dtype)
    with torch.no_grad():
        new.weight.zero_()
        new.weight[:, : old.in_channels] = old.weight
        new.bias.copy_(old.bias)
    unet.conv_in = new
    unet.register_to_config(in_channels=in_channels)
    unet._watch_entrance()
    return unet


def choose_trained(unet: nn.Module, which: Which) -> list[str]:
    """Leave only some weights trainable, in place, and return their names.

    "release": the temporal transformers and the refiner, 417.7 of 1,544.7 million with SVD-XT; "refiner" and "temporal": one of the two;
    "all". Raises UsageError for an unknown choice and for one of which the network has nothing.
    """
    parts: dict[str, tuple[str, ...]] = {"release": (TEMPORAL, REFINER), "refiner": (REFINER,), "temporal": (TEMPORAL,), "all": ("",)}
    if which not in parts:
        raise UsageError(f"{which!r} is no part of the network to train, expected one of {', '.join(get_args(Which))}")
    chosen = []
    for name, weight in unet.named_parameters():
        weight.requires_grad_(any(part in name for part in parts[which]))
        if weight.requires_grad:
            chosen.append(name)
    if not chosen:
        raise UsageError(f"the network has no {which} to train; load it with refiner=True")
    return chosen


@contextmanager
def _telling(guide: Guide | None) -> Iterator[None]:
    token = _told.set(guide)
    try:
        yield
    finally:
        _told.reset(token)
