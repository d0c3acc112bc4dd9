"""What the demonstration trains: the tasks, how much of everything, and the recipe in the trainer's own terms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from framefill.training.config import (
    DataConfig,
    EmaConfig,
    LogConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
    ValidateConfig,
)

TASKS = ("predict", "backward", "interpolate", "single", "random", "generate", "completion")
RUN = "run"  # the run's folder in that of the demonstration


@dataclass(frozen=True)
class Scale:
    """How much of everything: clips to train on and held out, their frames, what the net sees of them, and the net itself."""

    clips: int = 240
    held_out: int = 16
    clip_frames: int = 48
    frames: int = 8
    side: int = 16
    patch: int = 4
    width: int = 64
    layers: int = 4
    batch: int = 16
    workers: int = 1
    steps: int = 10  # of the sampler; with 20 there is more grain, and 0.3 dB less
    every: int = 400  # samples between two lines of the run


def recipe(folder: Path, manifest: Path, minutes: float, scale: Scale) -> TrainConfig:
    """Return the run's config: it ends by the clock, so the learning rate stays and the weights' average does what its fall would do."""
    options: dict[str, bool | int | float | str] = {
        "patch_size": scale.patch,
        "hidden_size": scale.width,
        "num_layers": scale.layers,
        "num_heads": scale.width // 32,
        "attention": "full",  # 128 tokens in all: one attention over them is faster than two, in time and in space
    }
    return TrainConfig(
        run=RunConfig(name=RUN, folder=str(folder), samples=10_000_000, batch=scale.batch, minutes=minutes),
        data=DataConfig(manifest=str(manifest), frames=scale.frames, size=scale.side, workers=scale.workers),
        model=ModelConfig(net="vdt-tiny", options=options, process="edm"),
        tasks=dict.fromkeys(TASKS, 1.0),
        objective=ObjectiveConfig(density="log-normal", density_mean=0.0, density_std=1.4, mask_patch=scale.patch),
        optim=OptimConfig(kind="muon", lr=1e-2, schedule="constant", warmup=300),
        ema=EmaConfig(sigma_rel=(0.10,)),
        log=LogConfig(
            metrics_every=scale.every,
            curves_every=16 * scale.every,
            save_every=4 * scale.every,
            validate_every=8 * scale.every,
            sample_every=0,
            keep=1,
        ),
        validate=ValidateConfig(clips=2, steps=10),
    )
