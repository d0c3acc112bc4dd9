"""What the learning checks share: clips of moving squares and discs, a short training run through the whole core, and plain measures."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from framefill.families.vdt import VDTPipeline
from framefill.media.video import Frames
from framefill.training.build import build_objective
from framefill.training.config import (
    ComputeConfig,
    DataConfig,
    EmaConfig,
    LogConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
)
from framefill.training.dataflow import ClipLoader
from framefill.training.journal import read_records
from framefill.training.trainer import Trainer
from framefill.training.validate import HELD_OUT

T, SIDE = 8, 32
# 16 tokens a frame, 0.083 GMAC a clip and forward.
NET: dict[str, bool | int | float | str] = {"patch_size": 8, "hidden_size": 96, "num_layers": 4, "num_heads": 4}
Process = Literal["flow", "eps"]


@dataclass
class Shapes:
    """Clips uint8 8x32x32 of one square or disc on a plain ground, in straight uniform motion that stays inside the picture.

    Everything is drawn from (seed, index) alone: shape `kind`, colours, size, way. `count` clips.
    """

    kind: str
    count: int
    seed: int

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        """Every epoch shows the same clips."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"video": torch.from_numpy(self.clip(index))}

    def clip(self, index: int) -> Frames:
        """Frames uint8 T H W 3."""
        rng = np.random.default_rng([self.seed, index])
        radius = rng.uniform(4, 6)
        first, last = rng.uniform(radius, SIDE - 1 - radius, (2, 2))
        ground, colour = rng.integers(0, 90, 3), rng.integers(150, 256, 3)
        y, x = np.mgrid[0:SIDE, 0:SIDE]
        frames = np.empty((T, SIDE, SIDE, 3), np.uint8)
        for t in range(T):
            down, right = first + (last - first) * t / (T - 1)
            away = np.hypot(y - down, x - right) if self.kind == "disc" else np.maximum(abs(y - down), abs(x - right))
            share = np.clip(radius + 0.5 - away, 0, 1)[..., None]  # soft over a pixel, so that places finer than a pixel are seen
            frames[t] = np.rint(ground + (colour - ground) * share)
        return frames

    def clips(self) -> list[Frames]:
        """All of them."""
        return [self.clip(index) for index in range(self.count)]


Options = tuple[tuple[str, bool | int | float | str], ...]


@dataclass(frozen=True)
class Recipe:
    """A short run of a small net on clips of `kind`, 8 a step; `options` are the net's own."""

    kind: str
    tasks: tuple[str, ...]
    samples: int
    clips: int = 4_000
    process: Process = "flow"
    options: Options = ()

    def config(self, folder: Path, start: str = "") -> TrainConfig:
        """The run's config; start: a saved model's folder."""
        return TrainConfig(
            run=RunConfig(name="run", folder=str(folder), samples=self.samples, batch=8),
            data=DataConfig(frames=T, size=SIDE, workers=0),
            model=ModelConfig(process=self.process, options={"modulation": "block", **NET, **dict(self.options)}, start=start),
            tasks=dict.fromkeys(self.tasks, 1.0),
            objective=ObjectiveConfig(density="uniform" if self.process == "eps" else "logit-normal", mask_patch=8),
            optim=OptimConfig(kind="muon", lr=6e-3, warmup=self.samples // 20, final=0.02),
            ema=EmaConfig(sigma_rel=(0.1,)),
            compute=ComputeConfig(device="cpu"),
            log=LogConfig(metrics_every=80, curves_every=0, save_every=0, validate_every=0, sample_every=0),
        )


@dataclass(frozen=True)
class Learned:
    """What a run gave: its averaged weights, how it was made, its loss as it fell (means of 10 steps), and processor seconds."""

    recipe: Recipe
    folder: Path
    losses: tuple[float, ...]
    seconds: float

    @property
    def pipeline(self) -> VDTPipeline:
        """The saved model."""
        return VDTPipeline.from_pretrained(self.folder)

    def loss(self, task: str, clips: list[Frames], draws: int = 4) -> float:
        """The loss of a task on clips, over `draws` masks, noises and levels a clip that are the same for every net."""
        objective = build_objective(self.recipe.config(self.folder, str(self.folder)))
        with torch.no_grad():
            parts = [
                objective(
                    {
                        "video": torch.from_numpy(clip)[None].repeat(draws, 1, 1, 1, 1),
                        "position": torch.arange(HELD_OUT + number * draws, HELD_OUT + (number + 1) * draws),
                        "task": torch.full((draws,), self.recipe.tasks.index(task)),
                    }
                )["loss"]
                for number, clip in enumerate(clips)
            ]
        return float(torch.stack(parts).mean())


def train(recipe: Recipe, folder: Path) -> Learned:
    """Train through the whole core: objective, loader, trainer, averages, saved model."""
    config, begin = recipe.config(folder), time.process_time()
    model = Trainer(config, build_objective(config), ClipLoader(Shapes(recipe.kind, recipe.clips, seed=1), 0)).fit()
    losses = tuple(record["loss"] for record in read_records(folder / "run") if "loss" in record)
    return Learned(recipe, model, losses, time.process_time() - begin)
