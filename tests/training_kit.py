"""A whole small diffusion family, made for the trainer's tests: two convolutions, flow matching in pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from framefill.media.tensors import from_tensor, mask_to_tensor, to_tensor
from framefill.media.video import Frames
from framefill.training.config import DataConfig, EmaConfig, LogConfig, ObjectiveConfig, OptimConfig, RunConfig, TrainConfig, ValidateConfig
from framefill.training.dataflow import ClipLoader
from framefill.training.objective import MaskObjective, Noise


class ConvNet(nn.Module):
    """x, mask and known content in, a velocity out."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv3d(7, width, 3, padding=1)
        self.level = nn.Linear(1, width)
        self.blocks = nn.ModuleList([nn.Linear(width, width)])
        self.last = nn.Conv3d(width, 3, 3, padding=1)

    def forward(self, x: Tensor, sigma: Tensor, mask: Tensor, known: Tensor) -> Tensor:
        level = sigma if sigma.ndim == 2 else sigma[:, None].expand(-1, x.shape[1])
        hidden = self.first(torch.cat([x, mask, known], 2).transpose(1, 2))  # b c t h w
        hidden = hidden + self.level(level[..., None]).transpose(1, 2)[..., None, None]
        hidden = self.blocks[0](torch.nn.functional.silu(hidden).movedim(1, -1)).movedim(-1, 1)
        return self.last(torch.nn.functional.silu(hidden)).transpose(1, 2)


@dataclass
class Kept:
    x0: Tensor
    mask: Tensor


@dataclass
class Ready:
    x0: Tensor
    keep: Kept


class Flow:
    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        t = _wide(sigma)
        return (1 - t) * x0 + t * noise


class ConvPipeline:
    """The three verbs around a `ConvNet`."""

    def __init__(self, net: ConvNet) -> None:
        self.net = net
        self.process = Flow()

    def prepare(self, video: Tensor, mask: Tensor, generator: torch.Generator) -> Ready:
        return Ready(video, Kept(video * (1 - mask), mask))

    def prepare_latents(self, latents: Tensor, unknown: Tensor) -> Ready:
        return Ready(latents, Kept(latents * (1 - unknown), unknown))

    def denoise(self, prepared: Ready) -> Callable[[Tensor, Tensor], Tensor]:
        keep = prepared.keep

        def made(x: Tensor, sigma: Tensor) -> Tensor:
            given = torch.where(keep.mask > 0, x, keep.x0)
            return given - _wide(sigma) * self.net(given, sigma, keep.mask.float(), keep.x0)

        return made

    def fill(self, video: Frames, mask: NDArray[np.bool_], steps: int, seed: int) -> Frames:
        x0 = to_tensor(video)
        prepared = self.prepare(x0, mask_to_tensor(mask), torch.Generator())
        x = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed))
        denoise = self.denoise(prepared)
        levels = torch.linspace(1, 0, steps + 1)
        for now, following in pairwise(levels):
            clean = denoise(x, now.expand(1))
            x = clean + (following / now) * (x - clean)
        return from_tensor(torch.where(prepared.keep.mask > 0, x, x0))[0]

    def to(self, device: torch.device) -> ConvPipeline:
        self.net.to(device)
        return self

    def save_pretrained(self, save_directory: Path) -> None:
        save_directory.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in self.net.state_dict().items()}, save_directory / "net.safetensors")


class Squares:
    """Clips of a bright square that moves; what moves where depends on (seed, epoch, index)."""

    def __init__(self, count: int = 12, frames: int = 4, size: int = 16, seed: int = 3) -> None:
        self.count, self.frames, self.size, self.seed, self.epoch = count, frames, size, seed, 0

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        clip = np.full((self.frames, self.size, self.size, 3), rng.integers(0, 80, 3), np.uint8)
        place, speed, colour = rng.integers(0, self.size - 4, 2), rng.integers(-2, 3, 2), rng.integers(150, 255, 3)
        for t in range(self.frames):
            y, x = np.clip(place + t * speed, 0, self.size - 4)
            clip[t, y : y + 4, x : x + 4] = colour
        return {"video": torch.from_numpy(clip)}


def uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator) * 0.98 + 0.01


def velocity_weight(sigma: Tensor) -> Tensor:
    return sigma**-2


def make_objective(
    seed: int = 0, tasks: dict[str, float] | None = None, patch: int = 2, per_frame: float = 0.0, width: int = 8
) -> MaskObjective:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pipeline = ConvPipeline(ConvNet(width))
    noise = Noise(uniform, velocity_weight, per_frame)
    return MaskObjective(
        pipeline, pipeline.net, pipeline.fill, tasks or {"predict": 1, "completion": 1, "generate": 1}, noise, seed=seed, patch=patch
    )


def make_loader(seed: int = 0, workers: int = 0) -> ClipLoader:
    return ClipLoader(Squares(), seed, workers)


def held_out(count: int = 2) -> list[Frames]:
    clips = Squares(count, seed=99)
    return [clips[number]["video"].numpy() for number in range(count)]


def make_config(folder: Path, samples: int = 80, batch: int = 4, **log: float) -> TrainConfig:
    return TrainConfig(
        run=RunConfig(name="squares", folder=str(folder), samples=samples, batch=batch, seed=5),
        data=DataConfig(frames=4, size=16, workers=0),
        tasks={"predict": 1.0, "completion": 1.0, "generate": 1.0},
        objective=ObjectiveConfig(density="uniform", mask_patch=2),
        optim=OptimConfig(lr=2e-3, warmup=16, schedule="constant"),
        ema=EmaConfig(kind="power", sigma_rel=(0.1, 0.05)),
        log=LogConfig(**{"metrics_every": 16, "curves_every": 0, "save_every": 40, "validate_every": 0, "sample_every": 0, **log}),  # type: ignore[arg-type]
        validate=ValidateConfig(clips=2, steps=3, metrics=("psnr-hole",)),
    )


def _wide(sigma: Tensor) -> Tensor:
    return sigma.reshape(*sigma.shape, *([1] * (5 - sigma.ndim)))
