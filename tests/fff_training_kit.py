"""Training of family fff at the size of a test: the tiny pipeline, clips of moving squares, a run's config."""

from __future__ import annotations

from pathlib import Path

import torch
from fff_kit import tiny_pipeline
from training_kit import Squares

from framefill.diffusion.precond import Process
from framefill.diffusion.weights import uniform
from framefill.families.fff.pipeline import FFFPipeline
from framefill.training.config import (
    ComputeConfig,
    DataConfig,
    EmaConfig,
    FffConfig,
    LogConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
    ValidateConfig,
)
from framefill.training.dataflow import Batch, ClipLoader
from framefill.training.fff_build import choose
from framefill.training.fff_objective import FFFObjective, Guided
from framefill.training.objective import MaskDraws, Noise

FRAMES, SIZE = 3, 16
TASKS = {"moving-box": 0.5, "static-shape": 0.5}


def density(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return Process("edm", sigma_data=1.0).draw(shape, generator, "log-normal", 0.7, 1.6)


def weight(sigma: torch.Tensor) -> torch.Tensor:
    return uniform(Process("edm", sigma_data=1.0), sigma)


def make_objective(
    fff: FffConfig | None = None,
    *,
    seed: int = 0,
    clip: bool = False,
    pipeline: FFFPipeline | None = None,
    noise: Noise | None = None,
    offload: bool = False,
) -> FFFObjective:
    """The objective of a tiny pipeline, its refiner asleep, of which `fff.train` is trained."""
    fff = fff or FffConfig()
    pipeline = pipeline or tiny_pipeline(clip=clip, refiner=fff.refiner, window=FRAMES, size=SIZE)
    choose(pipeline.unet.train(), fff, seed)
    return FFFObjective(pipeline, TASKS, noise or Noise(density, weight), fff, seed=seed, offload=offload)


def clips(count: int, size: int = SIZE, frames: int = FRAMES) -> torch.Tensor:
    """Clips of squares, uint8 B T H W 3."""
    made = Squares(count, frames, size)
    return torch.stack([made[number]["video"] for number in range(count)])


def batch(count: int, first: int = 0) -> Batch:
    return {"video": clips(count), "position": torch.arange(first, first + count)}


def make_loader(seed: int = 0, guided: bool = True) -> ClipLoader:
    beside = Guided(MaskDraws(TASKS, seed, 1), "dis") if guided else None
    return ClipLoader(Squares(12, FRAMES, SIZE), seed, beside=beside)


def make_config(folder: Path, samples: int, size: int = 2, **log: int) -> TrainConfig:
    return TrainConfig(
        run=RunConfig(name="tiny", folder=str(folder), samples=samples, batch=size, seed=5),
        data=DataConfig(frames=FRAMES, size=SIZE, workers=0),
        model=ModelConfig(family="fff"),
        tasks=dict(TASKS),
        objective=ObjectiveConfig(density="log-normal", density_mean=0.7, density_std=1.6, mask_patch=1),
        optim=OptimConfig(lr=1e-3, warmup=0, schedule="constant"),
        ema=EmaConfig(kind="power", sigma_rel=(0.1,)),
        compute=ComputeConfig(device="cpu"),
        log=LogConfig(**{"metrics_every": size, "curves_every": 0, "save_every": 0, "validate_every": 0, "sample_every": 0, **log}),  # type: ignore[arg-type]
        validate=ValidateConfig(clips=1, steps=2, metrics=("psnr-hole",)),
    )
