"""A small light net with its objective and runs, made for the tests of what trains it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from training_kit import Squares

from framefill.families.light import LightPipeline
from framefill.media.video import Frames
from framefill.nets.light import Light
from framefill.training.adversary import Adversary
from framefill.training.config import (
    AdversaryConfig,
    DataConfig,
    EmaConfig,
    LogConfig,
    LossConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
    ValidateConfig,
)
from framefill.training.dataflow import ClipLoader, Order
from framefill.training.light_objective import LightObjective

SIZE, FRAMES = 32, 4
TASKS = {"inpaint-box": 1.0, "inpaint-blob": 1.0}


def small_net(seed: int = 0) -> Light:
    """A net whose last layers are not zero, as they are in a new one."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Light(channels=(8, 8, 8), blocks=1, layers=1, num_heads=2, window=4)
        for p in net.parameters():
            if not p.any():
                torch.nn.init.normal_(p, std=0.02)
    return net


def small_objective(
    loss: LossConfig | None = None, adversary: AdversaryConfig | None = None, tasks: Mapping[str, float] | None = None, seed: int = 0
) -> LightObjective:
    net, tasks = small_net(seed), dict(tasks or TASKS)
    pipeline = LightPipeline(net, list(tasks), window=FRAMES, size=SIZE)

    def fill(video: Frames, mask: np.ndarray, steps: int, seed: int) -> Frames:
        return pipeline(video, mask).frames

    opponent = None if adversary is None else Adversary(adversary, seed)
    return LightObjective(pipeline, net, fill, tasks, loss or LossConfig(), size=SIZE, opponent=opponent, seed=seed)


class Holed(Squares):
    """The same squares with a mask of their own, a still box; `task` says that it is the first kind."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        mask = torch.zeros(self.frames, self.size, self.size, dtype=torch.bool)
        mask[:, 8:20, 10:22] = True
        return super().__getitem__(index) | {"mask": mask, "task": torch.tensor(0)}


def clips(count: int = 12, seed: int = 3) -> Squares:
    return Squares(count, FRAMES, SIZE, seed)


def loader(order: Order | None = None, workers: int = 0) -> ClipLoader:
    return ClipLoader(clips(), 0, workers, order=order)


def batch(count: int = 2, start: int = 0, source: Squares | None = None) -> dict[str, Tensor]:
    items = [(source or clips())[number] for number in range(start, start + count)]
    return {key: torch.stack([item[key] for item in items]) for key in items[0]} | {"position": torch.arange(start, start + count)}


def small_config(folder: Path, samples: int = 64, **sections: object) -> TrainConfig:
    made = {
        "run": RunConfig(name="light", folder=str(folder), samples=samples, batch=4, seed=5),
        "data": DataConfig(frames=FRAMES, size=SIZE, workers=0),
        "model": ModelConfig(family="light", net="light-small"),
        "tasks": dict(TASKS),
        "objective": ObjectiveConfig(mask_patch=1),
        "optim": OptimConfig(lr=2e-3, warmup=16, schedule="constant"),
        "ema": EmaConfig(sigma_rel=(0.1,)),
        "log": LogConfig(metrics_every=16, curves_every=0, save_every=32, validate_every=0, sample_every=0),
        "validate": ValidateConfig(clips=2, metrics=("psnr-hole",)),
    }
    return TrainConfig(**(made | sections))  # type: ignore[arg-type]
