"""What training a net of Stable Video Diffusion will need, told before it starts and without its weights: from shapes alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from diffusers import AutoencoderKLTemporalDecoder
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from framefill.nets.guide import Guide
from framefill.nets.refiner import Refiner
from framefill.nets.svd import SVDUNet
from framefill.nets.svd_files import stored
from framefill.training.config import TrainConfig
from framefill.training.estimate import Estimate
from framefill.training.fff_build import HALVES, choose, size_of
from framefill.training.optim import state_bytes
from framefill.training.trainer import profiles_of

PUBLISHED_VAE: dict[str, object] = {  # of Stable Video Diffusion, where no folder says otherwise
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
CLIP_PARAMETERS = 632_076_800  # ViT-H/14 with its projection


def fff_estimate(config: TrainConfig, world: int = 1) -> Estimate:
    """Count parameters and, on shapes alone, what a sample's forward keeps and how many operations it takes, forth and back.

    Raises UsageError for choices that do not fit, WeightsError for a `model.start` that holds no net.
    """
    unet, vae = _unet(config), _autoencoder(config)
    trained = sum(p.numel() for p in unet.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in unet.parameters()) - trained
    bytes_each = 4 if config.fff.frozen == "fp32" else 2
    companions = 4 * sum(p.numel() for p in vae.parameters()) + (bytes_each * CLIP_PARAMETERS if _has_clip(config) else 0)
    micro = config.run.micro_batch or max(1, config.run.batch // world)
    away = config.compute.offload
    return Estimate(
        trained=trained,
        frozen=frozen,
        weights=4 * trained + bytes_each * frozen + (0 if away else companions),
        gradients=4 * trained,
        optimizer=0 if away else state_bytes(unet, config.optim),
        averages=0 if away else 4 * trained * len(profiles_of(config.ema)),
        activations=int(kept(unet, config) * micro * (1.0 if config.compute.precision == "fp32" else 0.5)),
        split=config.compute.parallel == "fsdp",
        operations=operations(unet, vae, config) * config.run.samples / world,
        rate=matrix_rate(config),
    )


def kept(unet: SVDUNet, config: TrainConfig) -> int:
    """Return the bytes, float32, that the forward of one sample keeps at most: with checkpointing, what enters the parts and one part."""
    held: dict[int, Tensor] = {}
    largest = [0]

    def again(part: Callable[..., object], *given: object) -> object:
        held.update((tensor.untyped_storage()._cdata, tensor) for tensor in given if isinstance(tensor, Tensor))
        inside: dict[int, Tensor] = {}
        with _keeping(unet, inside):
            made = part(*given)
        largest[0] = max(largest[0], _bytes(inside))
        return made

    if config.compute.checkpointing:
        unet.enable_gradient_checkpointing(again)
    with _keeping(unet, held):
        _run(unet, config)
    if config.compute.checkpointing:
        unet.disable_gradient_checkpointing()
    return _bytes(held) + largest[0]


def operations(unet: SVDUNet, vae: nn.Module, config: TrainConfig) -> int:
    """Return the floating-point operations of one sample: the net forth and back, and the autoencoder's two encodings."""
    if config.compute.checkpointing:
        unet.enable_gradient_checkpointing()
    with FlopCounterMode(display=False) as counter:
        _run(unet, config).sum().backward()
    for p in unet.parameters():
        p.grad = None
    height, width = config.data.shape
    with FlopCounterMode(display=False) as encoding, torch.no_grad():
        vae.encode(torch.empty(1, 3, height, width, device="meta"))
    return int(counter.get_total_flops()) + 2 * config.data.frames * int(encoding.get_total_flops())


def matrix_rate(config: TrainConfig) -> float:
    """Measure the operations a second of this device's matrix products in the run's number format, best of three."""
    device = "cuda" if torch.cuda.is_available() and config.compute.device == "auto" else "cpu"
    side = 4096 if device == "cuda" else 768
    one = torch.ones(side, side, device=device, dtype=HALVES.get(config.compute.precision, torch.float32))
    best = float("inf")
    for _ in range(4):  # the first warms up
        start = time.perf_counter()
        product = one @ one
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
        del product
    return 2 * side**3 / best


def _run(unet: SVDUNet, config: TrainConfig) -> Tensor:
    """One sample through the net, of shapes alone."""
    frames = config.data.frames
    factor = 2 ** (len(_vae_config(config)["block_out_channels"]) - 1)  # type: ignore[arg-type]
    height, width = (side // factor for side in config.data.shape)
    like = {"device": "meta"}
    x = torch.empty(1, frames, int(unet.config.in_channels), height, width, **like)
    token = torch.empty(1, 1, int(unet.config.cross_attention_dim), **like)
    guide = None
    if unet.config.refiner and config.fff.refiner and config.fff.shown == "masked":
        flows = [torch.empty(1, frames - 1, 2, height, width, **like) for _ in range(2)]
        guide = Guide(torch.empty(1, frames, 1, height, width, **like), *flows)
    return cast(Tensor, unet(x, torch.empty(1, **like), token, torch.empty(1, 3, **like), return_dict=False, guide=guide)[0])


@contextmanager
def _keeping(net: nn.Module, held: dict[int, Tensor]) -> Iterator[None]:
    """Gather what autograd keeps while the block runs, by storage, without the net's own parameters."""
    own = {p.untyped_storage()._cdata for p in net.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in own:
            held[storage] = tensor  # held, so that no other storage comes to have its name
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield


def _bytes(held: dict[int, Tensor]) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


def _unet(config: TrainConfig) -> SVDUNet:
    """The net that would be trained, without weights."""
    model = config.model
    with torch.device("meta"):
        if model.start:
            unet = SVDUNet.from_config(dict(stored(Path(model.start) / "unet").config))
        else:
            channels = int(cast(int, _vae_config(config)["latent_channels"]))
            unet = SVDUNet(**size_of(config, channels))
        if config.fff.refiner and not unet.config.refiner:
            unet.noise_refiner = Refiner(unet.config.block_out_channels[0])
            unet.register_to_config(refiner=True)
        choose(unet.train(), replace(config.fff, frozen="fp32"), config.run.seed)  # shapes of one kind go through it
    return cast(SVDUNet, unet.to("meta"))  # the mixing factors are made on the CPU, whatever is asked for


def _autoencoder(config: TrainConfig) -> AutoencoderKLTemporalDecoder:
    with torch.device("meta"):
        return AutoencoderKLTemporalDecoder.from_config(_vae_config(config))


def _vae_config(config: TrainConfig) -> dict[str, object]:
    """What describes the autoencoder: its folder's, else that of SVD, or of svd-nano's."""
    from framefill.training.vae_objective import NETS as OWN

    for folder in (Path(config.model.start) / "vae" if config.model.start else None, Path(config.model.codec)):
        if folder is not None and (folder / "config.json").is_file():
            return dict(stored(folder).config)
    return OWN["svd-nano-vae"] if config.model.net == "svd-nano" else PUBLISHED_VAE


def _has_clip(config: TrainConfig) -> bool:
    return (Path(config.model.start) / "image_encoder").is_dir() if config.model.start else config.model.net == "svd-xt"
