"""Recipes by name: functions that return a config. Anything in them can be overridden by a file and by flags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from typing import Literal

from framefill.errors import UsageError
from framefill.training.config import (
    ComputeConfig,
    DataConfig,
    EmaConfig,
    FffConfig,
    LogConfig,
    LossConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
    ValidateConfig,
)
from framefill.weights import store

# Every task of VDT as often as its own sampler has it (0.8 over six temporal ones, 0.2 spatial), the spatial fifth shared with holes.
UNIFIED = {
    "predict": 0.1333,
    "backward": 0.1333,
    "interpolate": 0.1333,
    "generate": 0.1333,
    "single": 0.1333,
    "random": 0.1333,
    "completion": 0.08,
    "inpaint-box": 0.04,
    "inpaint-object": 0.04,
    "outpaint": 0.04,
}


def vdt_tiny() -> TrainConfig:
    """All tasks in one small net on pixels of 32x32 in 8 frames, which a CPU trains in hours; on a GPU --data.size 64 --data.frames 16."""
    return TrainConfig(
        run=RunConfig(name="vdt-tiny", samples=400_000, batch=16, micro_batch=16),
        data=DataConfig(frames=8, size=32, workers=1),
        model=ModelConfig(family="vdt", net="vdt-tiny", process="edm", prior="motion"),
        tasks=dict(UNIFIED),
        objective=ObjectiveConfig(density="log-normal", density_mean=0.7, density_std=1.4, per_frame_noise=0.1, mask_patch=4),
        optim=OptimConfig(kind="muon", lr=2e-3, warmup=1_600, schedule="rsqrt", decay_start=40_000),
        ema=EmaConfig(kind="power", sigma_rel=(0.10, 0.05), snapshot_every=8_000),
        log=LogConfig(metrics_every=320, curves_every=3_200, save_every=3_200, validate_every=16_000, sample_every=16_000),
        validate=ValidateConfig(clips=8, steps=10),
    )


def vdt_s2() -> TrainConfig:
    """VDT-S/2 with all tasks, on clips of 64x64; with an autoencoder as codec, on its latents. For one GPU; a CPU runs it, slowly."""
    return TrainConfig(
        run=RunConfig(name="vdt-s2", samples=10_000_000, batch=64, micro_batch=16),
        data=DataConfig(frames=16, size=64, workers=8),
        model=ModelConfig(family="vdt", net="vdt-s2", codec="pixels/4"),
        tasks=dict(UNIFIED),
        objective=ObjectiveConfig(per_frame_noise=0.25, mask_patch=8),
        optim=OptimConfig(lr=3e-4, warmup=64_000, schedule="rsqrt", decay_start=2_000_000),
        ema=EmaConfig(kind="power", sigma_rel=(0.10, 0.05), snapshot_every=500_000),
        compute=ComputeConfig(precision="bf16", compile=True),
        log=LogConfig(metrics_every=6_400, curves_every=64_000, save_every=128_000, validate_every=256_000, sample_every=256_000),
        validate=ValidateConfig(clips=16, steps=20),
    )


def vdt_l2() -> TrainConfig:
    """VDT-L/2 with all tasks, at 256x256, for several large GPUs; activations are computed again in the backward pass."""
    return TrainConfig(
        run=RunConfig(name="vdt-l2", samples=30_000_000, batch=256, micro_batch=8),
        data=DataConfig(frames=16, size=256, workers=12),
        model=ModelConfig(family="vdt", net="vdt-l2", codec="pixels/8"),
        tasks=dict(UNIFIED),
        objective=ObjectiveConfig(per_frame_noise=0.25, mask_patch=16),
        optim=OptimConfig(lr=1e-4, warmup=256_000, schedule="rsqrt", decay_start=6_000_000),
        ema=EmaConfig(kind="power", sigma_rel=(0.05, 0.10), snapshot_every=1_000_000),
        compute=ComputeConfig(precision="bf16", compile=True, checkpointing=True),
        log=LogConfig(metrics_every=25_600, curves_every=256_000, save_every=512_000, validate_every=1_024_000, sample_every=1_024_000),
        validate=ValidateConfig(clips=32, steps=20),
    )


HOLES = {
    "inpaint-object": 0.3,
    "inpaint-stroke": 0.15,
    "inpaint-blob": 0.15,
    "inpaint-box": 0.2,
    "outpaint": 0.1,
    "completion": 0.1,
    "stereo": 0.15,
    "dust": 0.03,
    "text": 0.03,
}


def light() -> TrainConfig:
    """The light net that fills any hole in one pass, on crops of 128x128 in 8 frames; a CPU trains it in hours, a GPU in one."""
    return TrainConfig(
        run=RunConfig(name="light", samples=200_000, batch=8, micro_batch=8),
        data=DataConfig(frames=8, size=128, workers=1),
        model=ModelConfig(family="light", net="light"),
        tasks=dict(HOLES),
        objective=ObjectiveConfig(mask_patch=1),
        # L1 alone first, which rewards blur; what looks right from the middle on.
        loss=LossConfig(
            l1=1.0, gradient=0.5, temporal=0.2, smoothness=0.01, rim=0.1, warp=0.1,
            lpips=0.3, lpips_frames=2, lpips_size=64, lpips_from=100_000, perceptual=eye_here(),
        ),
        optim=OptimConfig(kind="muon", lr=2e-3, warmup=1_600, schedule="cosine", final=0.05),
        ema=EmaConfig(kind="power", sigma_rel=(0.10, 0.05)),
        log=LogConfig(metrics_every=160, curves_every=1_600, save_every=1_600, validate_every=8_000, sample_every=8_000),
        validate=ValidateConfig(clips=4, steps=1, metrics=_measures()),
    )  # fmt: skip


def light_compat() -> TrainConfig:
    """The published net by its author's recipe, on records (--data DIR): 199 epochs of 1664 clips, five cycles; for one GPU."""
    return TrainConfig(
        run=RunConfig(name="light-compat", epoch=1_664, epochs=199, samples=199 * 1_664, batch=4, micro_batch=1),
        data=DataConfig(frames=12, size=256, flip=0.0, hard=None, workers=6),
        model=ModelConfig(family="light", net="light-compat"),
        tasks={**HOLES, "stereo": 1.0},
        objective=ObjectiveConfig(mask_patch=1),
        loss=LossConfig(l1=0.8, temporal=0.2, smoothness=0.01, lpips=0.2, perceptual=eye_here(), augment=True),
        optim=OptimConfig(
            kind="adamw", lr=1e-4, betas=(0.9, 0.999), warmup=0, schedule="cyclic", cycles=5, final=1e-4,
            weight_decay=1e-3, weight_decay_end=1e-2, clip=0.0,
        ),
        ema=EmaConfig(kind="none"),
        log=LogConfig(metrics_every=416, curves_every=6_656, save_every=1_664, validate_every=6_656, sample_every=6_656),
        validate=ValidateConfig(clips=100, steps=1, metrics=_measures(), pictures=10),
    )  # fmt: skip


# FFF-VDI's paper: half of the shapes stand still, half move (as told of it elsewhere); its release trains on moving boxes alone.
FFF_HOLES = {"static-shape": 0.35, "moving-shape": 0.35, "moving-box": 0.2, "inpaint-object": 0.1}


def fff_svd() -> TrainConfig:
    """Stable Video Diffusion learns to fill holes, FFF-VDI's recipe mended: --model.start SVD-FOLDER, for several large GPUs."""
    return TrainConfig(
        run=RunConfig(name="fff-svd", samples=800_000, batch=8, micro_batch=1, seed=123),  # 100,000 steps on 8 GPUs
        data=DataConfig(frames=25, size=256, width=512, workers=8),
        model=ModelConfig(family="fff", net="svd-xt"),
        tasks=dict(FFF_HOLES),
        objective=ObjectiveConfig(density="log-normal", density_mean=0.7, density_std=1.6, weight="uniform", mask_patch=1),
        fff=FffConfig(),
        optim=OptimConfig(lr=1e-5, betas=(0.9, 0.999), weight_decay=0.01, warmup=4_000, schedule="constant", clip=1.0),
        ema=EmaConfig(kind="power", sigma_rel=(0.10,)),
        compute=ComputeConfig(precision="bf16", checkpointing=True),
        log=LogConfig(metrics_every=80, curves_every=8_000, save_every=8_000, validate_every=8_000, sample_every=8_000, keep=1),
        validate=ValidateConfig(clips=4, steps=25),
    )


def svd_nano_vae() -> TrainConfig:
    """The autoencoder that svd-nano needs: 4 channels, a quarter of each side; 4 clips/s on one core in bf16."""
    return TrainConfig(
        run=RunConfig(name="svd-nano-vae", samples=8_000, batch=2, micro_batch=2),
        data=DataConfig(frames=4, size=48, workers=1),
        model=ModelConfig(family="svd-vae", net="svd-nano-vae"),
        tasks={"generate": 1.0},
        optim=OptimConfig(lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0, warmup=400, schedule="cosine", final=0.02),
        ema=EmaConfig(kind="power", sigma_rel=(0.10,)),
        compute=ComputeConfig(precision=bf16_here()),
        log=LogConfig(metrics_every=160, curves_every=1_600, save_every=1_600, validate_every=0, sample_every=0),
        validate=ValidateConfig(clips=0),
    )


def svd_nano() -> TrainConfig:
    """A small Stable Video Diffusion from nothing, image-to-video on procedural clips: --model.codec runs/svd-nano-vae/model."""
    return TrainConfig(
        run=RunConfig(name="svd-nano", samples=30_000, batch=8, micro_batch=8),
        data=DataConfig(frames=8, size=48, workers=1),
        model=ModelConfig(family="fff", net="svd-nano"),
        tasks={"predict": 1.0},
        objective=ObjectiveConfig(density="log-normal", density_mean=0.0, density_std=1.4, weight="uniform", mask_patch=1),
        fff=FffConfig(train="all", shown="first", refiner=False),
        optim=OptimConfig(kind="adamw", lr=1e-3, betas=(0.9, 0.99), warmup=800, schedule="cosine", final=0.05),
        ema=EmaConfig(kind="power", sigma_rel=(0.10, 0.05)),
        compute=ComputeConfig(precision=bf16_here()),
        log=LogConfig(metrics_every=160, curves_every=3_200, save_every=1_600, validate_every=8_000, sample_every=8_000),
        validate=ValidateConfig(clips=4, steps=12),
    )


def fff_nano() -> TrainConfig:
    """The same net learns to fill holes by FFF-VDI's recipe, all of it trained: --model.start runs/svd-nano/model."""
    first = svd_nano()
    return replace(
        first,
        run=replace(first.run, name="fff-nano", samples=16_000),
        tasks=dict(FFF_HOLES),
        fff=FffConfig(train="all"),
        optim=replace(first.optim, lr=5e-4),
    )


def bf16_here() -> Literal["fp32", "bf16"]:
    """The number format that trains faster on this machine: bf16 on a GPU, and on a CPU that multiplies in it."""
    import torch

    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    fast = torch.cuda.is_available() or any(known is not None and known() for known in asked)
    return "bf16" if fast else "fp32"


def eye_here() -> Literal["lpips-vgg", "random-filters"]:
    """The perceptual distance of a loss on this machine: LPIPS where its weights are, else a stand-in (`training.light_perceptual`)."""
    return "lpips-vgg" if store.place("lpips-vgg").exists() else "random-filters"


def _measures() -> tuple[str, ...]:
    """What the light nets are measured by while they train; LPIPS where its weights are on this machine."""
    perceptual = ("lpips-vgg-hole",) if eye_here() == "lpips-vgg" else ()
    return ("psnr-hole", "ssim-hole", "ewarp-hole", *perceptual)


PRESETS: dict[str, Callable[[], TrainConfig]] = {
    "light": light,
    "light-compat": light_compat,
    "vdt-tiny": vdt_tiny,
    "vdt-s2": vdt_s2,
    "vdt-l2": vdt_l2,
    "fff-svd": fff_svd,
    "svd-nano-vae": svd_nano_vae,
    "svd-nano": svd_nano,
    "fff-nano": fff_nano,
}


def get_preset(name: str) -> TrainConfig:
    """Return a preset's config. Raises UsageError for a name that does not exist, with the nearest one that does."""
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, 1)
        raise UsageError(f"no preset is called {name!r}; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(PRESETS)}"))
    return PRESETS[name]()
