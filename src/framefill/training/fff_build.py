"""From a config to the objective of family fff: a published or saved pipeline to go on from, or a small one from nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKLTemporalDecoder

from framefill.diffusion.weights import WEIGHTS
from framefill.errors import UsageError
from framefill.families.fff.pipeline import FFFPipeline, Levels
from framefill.nets.layers import float32_norms
from framefill.nets.refiner import Refiner
from framefill.nets.saved import load_net
from framefill.nets.svd import SVDUNet, choose_trained
from framefill.training.config import FffConfig, TrainConfig
from framefill.training.config_checks import check_options
from framefill.training.dataflow import draw_seed
from framefill.training.fff_lora import add_lora
from framefill.training.fff_objective import FFFObjective, Guided, mode_of
from framefill.training.objective import MaskDraws, Noise

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
NANO_LEVELS = Levels(sigma_min=0.002, sigma_max=80.0)  # noise drowns a small picture sooner than one of 576 lines
# Sizes of the net by name, in the words of diffusers' configuration; channels in and out are the autoencoder's.
NETS: dict[str, dict[str, object]] = {
    "svd-nano": {
        "block_out_channels": (64, 64, 64),
        "down_block_types": ("DownBlockSpatioTemporal", "DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal"),
        "up_block_types": ("CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal", "UpBlockSpatioTemporal"),
        "layers_per_block": 1,
        "num_attention_heads": 4,
        "cross_attention_dim": 32,
        "addition_time_embed_dim": 32,
        "projection_class_embeddings_input_dim": 96,
    },
    "svd-xt": {"sample_size": 96},
}


def fff_objective(config: TrainConfig) -> FFFObjective:
    """Return the objective, its net's weights read from `model.start` or drawn from the seed.

    Raises UsageError for names that do not exist and parts that do not fit, WeightsError for a folder that holds no pipeline.
    """
    pipeline = pipeline_of(config)
    choose(pipeline.unet, config.fff, config.run.seed)
    if pipeline.embedder is not None and config.fff.frozen != "fp32":  # the autoencoder stays whole: SVD's overflows in fp16
        pipeline.embedder.to("cpu", HALVES[config.fff.frozen])
    objective, process = config.objective, pipeline.process
    density = partial(process.draw, density=objective.density, mean=objective.density_mean, std=objective.density_std)
    noise = Noise(density, partial(WEIGHTS[objective.weight], process))
    return FFFObjective(
        pipeline, config.tasks, noise, config.fff,
        seed=config.run.seed, patch=objective.mask_patch, offload=config.compute.offload,
    )  # fmt: skip


def pipeline_of(config: TrainConfig) -> FFFPipeline:
    """Return the pipeline that is trained: tasks, window and size are this run's."""
    model, fff, data = config.model, config.fff, config.data
    if model.start:
        begun = FFFPipeline.from_pretrained(model.start)
        unet, vae, embedder, levels = begun.unet, begun.vae, begun.embedder, begun.levels
    else:
        vae, embedder, levels = _autoencoder(config), None, NANO_LEVELS
        unet = _new(config, int(vae.config.latent_channels))
    if fff.refiner and not unet.config.refiner:
        _add_refiner(unet, config.run.seed)
    float32_norms(unet)
    pipeline = FFFPipeline(
        unet.train(), vae, embedder, levels,
        tasks=[name for name, share in config.tasks.items() if share > 0], window=data.frames, size=min(data.shape),
        fps=round(fff.fps), motion=fff.motion, mode=mode_of(fff),
    )  # fmt: skip
    if any(side % pipeline.multiple for side in data.shape):
        height, width = data.shape
        raise UsageError(f"clips are {width}x{height}, this net takes multiples of {pipeline.multiple}; set data.size and data.width so")
    return pipeline


def choose(unet: SVDUNet, fff: FffConfig, seed: int) -> list[str]:
    """Leave trainable what `fff.train` names, keep the rest as `fff.frozen` says, in place; return the names of what is trained."""
    if fff.train == "lora":
        names = add_lora(unet, fff.lora_rank, fff.lora_alpha, draw_seed(seed))
        if unet.config.refiner:
            unet.noise_refiner.requires_grad_(True)
            names += [f"noise_refiner.{name}" for name, _ in unet.noise_refiner.named_parameters()]
    else:
        names = choose_trained(unet, fff.train)
    if fff.frozen != "fp32":
        for parameter in unet.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(HALVES[fff.frozen])
    return names


def beside(config: TrainConfig) -> Guided | None:
    """Return what a loader's workers find beside each clip: its mask, and the motion of what that leaves; None where nothing is hidden."""
    if config.fff.shown == "first" or config.data.records:
        return None
    tasks = {name: share for name, share in config.tasks.items() if share > 0}
    draws = MaskDraws(tasks, config.run.seed, config.objective.mask_patch)
    return Guided(draws, None if mode_of(config.fff) == "off" else config.fff.flow)


def size_of(config: TrainConfig, channels: int) -> dict[str, object]:
    """Return the configuration of a net of a named size for an autoencoder of `channels`. Raises UsageError for names that do not exist."""
    model = config.model
    if model.net not in NETS:
        raise UsageError(f"model.net is {model.net!r}; there are {', '.join(NETS)}")
    check_options(model.options, [*NETS["svd-nano"]])
    fixed: dict[str, object] = {"in_channels": 2 * channels, "out_channels": channels, "num_frames": config.data.frames}
    return {**NETS[model.net], **model.options, **fixed}


def _autoencoder(config: TrainConfig) -> AutoencoderKLTemporalDecoder:
    given = Path(config.model.codec)
    folder = given / "vae" if (given / "vae").is_dir() else given
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"model.codec is {config.model.codec!r}, expected a folder with an AutoencoderKLTemporalDecoder; make a small one with: "
            "framefill train svd-nano-vae, then --model.codec runs/svd-nano-vae/model (or go on from a whole net with --model.start)"
        )
    return load_net(AutoencoderKLTemporalDecoder, folder)


def _new(config: TrainConfig, channels: int) -> SVDUNet:
    """Make a net of a named size, its weights drawn from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(draw_seed(config.run.seed))
        return SVDUNet(**size_of(config, channels))


def _add_refiner(unet: SVDUNet, seed: int) -> None:
    """Give a net a refiner, which changes nothing until it is trained."""
    with torch.random.fork_rng():
        torch.manual_seed(draw_seed(seed, 1))
        unet.noise_refiner = Refiner(unet.config.block_out_channels[0]).to(unet.dtype)
    unet.register_to_config(refiner=True)
