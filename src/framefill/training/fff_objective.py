"""The loss of FFF-VDI: an image-to-video net learns to fill clips, through the pipeline's own `prepare` and `denoise`.

FFF-VDI (arXiv 2408.11402) on Stable Video Diffusion (arXiv 2311.15127), with the public trainer's traps mended: the token is that of the
first frame as it can be filled, not of the one that hides nothing; noise on what is shown, noise levels and dropout belong to each sample;
the rate that the net is told is the one that it is told when it fills. Every draw is a pure function of (seed, position).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from framefill.diffusion.known import Keep
from framefill.diffusion.samplers import sample
from framefill.families.fff.flow import FlowName, Flows, flows_of, propagated_noise
from framefill.families.fff.latents import encoded
from framefill.families.fff.pipeline import Condition, FFFMode, FFFPipeline, Prepared, motion_of
from framefill.media.composite import composite
from framefill.media.tensors import from_tensor, to_tensor
from framefill.media.video import Frames
from framefill.training.config import FffConfig
from framefill.training.dataflow import Batch, draw_seed
from framefill.training.fff_lora import bare
from framefill.training.objective import (
    ENCODING,
    LEVEL,
    NOISE,
    MaskDraws,
    NetObjective,
    Noise,
    masked_loss,
    model_tensor,
    quartiles,
    sum_and_count,
)
from framefill.training.sharding import all_whole

SHOWN, DROPPED = 8, 9  # more of a sample's draws, after those of `training.objective` and `training.light_objective`
Kind = Literal["both", "token", "image", "none"]


class IncompatibleKeys(Protocol):
    """What torch found when it loaded a state."""

    missing_keys: list[str]


@dataclass(frozen=True)
class Guided:
    """A sample's mask, and the motion of what the mask leaves, found by whoever reads it: a loader's workers."""

    draws: MaskDraws
    flow: FlowName | None

    def __call__(self, position: int, sample: Batch) -> Batch:
        """Return `task`, `mask` bool T H W and, where flow is asked for, `there` and `back` float32 T-1 H W 2."""
        task = self.draws.task(position)
        video = sample["video"].numpy()
        mask = self.draws.mask(position, task, video.shape[:3])
        made = {"task": torch.tensor(list(self.draws.tasks).index(task)), "mask": torch.from_numpy(mask)}
        if self.flow is not None:
            flows = flows_of(np.where(mask[..., None], np.uint8(127), video), mask, self.flow)
            made |= {"there": torch.from_numpy(flows.there), "back": torch.from_numpy(flows.back)}
        return made


def mode_of(config: FffConfig) -> FFFMode:
    """By which mode of filling the first frame a net is trained, and fills unless it is told otherwise."""
    if config.shown == "first":
        return "off"
    return "feature" if config.refiner else "latent" if config.noise == "propagated" else "off"


class Fixed:
    """A pipeline as an objective holds it: its frozen nets move with the trained one, or with `offload` only when they are asked."""

    def __init__(self, pipeline: FFFPipeline, offload: bool = False) -> None:
        self.pipeline = pipeline
        self._offload = offload

    @property
    def net(self) -> nn.Module:
        """The trained net."""
        return self.pipeline.unet

    @net.setter
    def net(self, net: nn.Module) -> None:
        self.pipeline.unet = net

    def to(self, device: torch.device) -> object:
        """Move everything, or with offload the net alone."""
        if not self._offload:
            return self.pipeline.to(device)
        self.pipeline.device = device
        nn.Module.to(self.net, device)
        return self

    def save_pretrained(self, save_directory: Path) -> None:
        """Write the pipeline's folder, its net without what training hung on it."""
        with bare(self.net):
            self.pipeline.save_pretrained(save_directory)

    @contextmanager
    def awake(self, device: torch.device) -> Iterator[None]:
        """Have the frozen companions on the device while the block runs."""
        if not self._offload:
            yield
            return
        self._companions(device)
        try:
            yield
        finally:
            self._companions(torch.device("cpu"))

    def _companions(self, device: torch.device) -> None:
        nn.Module.to(self.pipeline.vae, device)
        if self.pipeline.embedder is not None:
            self.pipeline.embedder.to(device)


class FFFObjective(NetObjective):
    """EDM's loss of a pipeline of family fff over whole frames: batch `video` uint8 B T H W 3 and `position` B.

    `task`, `mask`, `there` and `back` may come with the batch, as `Guided` makes them; else they are made here. noise: the density of noise
    levels and the weight of errors. The rest is as in `NetObjective`; `net` alone is a submodule, of which what takes no gradient is not
    part of the state.
    """

    def __init__(
        self,
        pipeline: FFFPipeline,
        tasks: Mapping[str, float],
        noise: Noise,
        config: FffConfig,
        *,
        seed: int = 0,
        patch: int = 1,
        offload: bool = False,
    ) -> None:
        held = Fixed(pipeline, offload)
        super().__init__(held, pipeline.unet, self._filled, tasks, seed, patch)
        self._held = held
        self._pipeline = pipeline
        self._noise = noise
        self._config = config
        self._mode = mode_of(config)
        self._edges = quartiles(noise.density)
        self._register_state_dict_hook(_only_trained)
        self.register_load_state_dict_post_hook(_frozen_may_be_missing)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, and (sum, count) of the samples' losses by `task/NAME` and by quarter of the noise levels `sigma/A-B`."""
        positions = [int(position) for position in batch["position"]]
        device = next(self.net.parameters()).device
        tasks = self._tasks_of(batch, positions)
        with torch.no_grad():
            prepared = self.prepared(batch, tasks, positions, device)
            noise, sigma = self.drawn(positions, prepared.x0)
            if self._config.noise == "propagated":
                noise = self._carried(noise, batch, self._masks_of(batch, tasks, positions))
            x = self._pipeline.process.noised(prepared.x0, noise, sigma)
        made = self._pipeline.denoise(prepared)(x, sigma)
        losses = masked_loss(made, prepared.x0, torch.ones_like(prepared.x0[:, :, :1]), self._noise.weight(sigma))
        parts = self._by_task(losses.detach(), tasks)
        for low, high in zip(self._edges[:-1], self._edges[1:], strict=True):
            parts[f"sigma/{low:.2g}-{high:.2g}"] = sum_and_count(losses.detach(), (sigma >= low) & (sigma < high))
        return {"loss": losses.mean(), **parts}

    def prepared(self, batch: Batch, tasks: Sequence[str], positions: Sequence[int], device: torch.device) -> Prepared:
        """Turn a batch into the net's terms, with the condition's noise and dropout drawn for each sample."""
        video = model_tensor(batch["video"].to(device))
        generators = [torch.Generator(device).manual_seed(draw_seed(self._seed, position, ENCODING)) for position in positions]
        strength = torch.tensor([self.strength(position) for position in positions], device=device)
        with self._held.awake(device):
            if self._config.shown == "first":
                prepared = self._from_first(video, generators, strength)
            else:
                mask = self._masks_of(batch, tasks, positions)
                prepared = self._pipeline.prepare(
                    video, mask.to(device), generators,
                    flows=self._flows(batch, mask), fff_mode=self._mode, noise_aug_strength=strength,
                )  # fmt: skip
        return replace(prepared, cond=self._dropped(prepared, positions))

    def strength(self, position: int) -> float:
        """Draw the deviation of the noise on what a sample is shown: its logarithm is normal."""
        return float(np.exp(self._rng(position, SHOWN).normal(self._config.condition_mean, self._config.condition_std)))

    def drops(self, position: int) -> Kind:
        """Draw what of a sample's condition is left out: one uniform number settles the token and what is shown together."""
        number, share = self._rng(position, DROPPED).random(), self._config.dropout
        return "token" if number < share else "both" if number < 2 * share else "image" if number < 3 * share else "none"

    def drawn(self, positions: Sequence[int], x0: Tensor) -> tuple[Tensor, Tensor]:
        """Draw noise like x0 and sigma B."""
        noises, levels = [], []
        for position in positions:
            own = torch.Generator().manual_seed(draw_seed(self._seed, position, LEVEL))
            levels.append(self._noise.density((1,), own)[0])
            noise = torch.Generator(x0.device).manual_seed(draw_seed(self._seed, position, NOISE))
            noises.append(torch.randn(x0.shape[1:], generator=noise, device=x0.device))
        return torch.stack(noises).to(x0), torch.stack(levels).to(x0.device, torch.float32)

    def before_split(self) -> list[str]:
        """Keep the network's shape for `unsplit`; its blocks are what is put together at a time."""
        super().before_split()
        return sorted({type(block).__name__ for block in (*self.net.down_blocks, self.net.mid_block, *self.net.up_blocks)})

    @contextmanager
    def unsplit(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        """Put a whole network in the pipeline while the block runs, with the weights that are not trained too."""
        frozen = {f"net.{name}": p for name, p in self.net.named_parameters() if not p.requires_grad}
        with super().unsplit({**all_whole(frozen), **weights}):
            yield

    def _dropped(self, prepared: Prepared, positions: Sequence[int]) -> Condition:
        """The condition, that of the blind branch where it is dropped."""
        kinds = [self.drops(position) for position in positions]
        cond = dict(prepared.cond)
        for name in ("token", "image"):
            gone = torch.tensor([kind in (name, "both") for kind in kinds], device=cond[name].device)
            gone = gone.reshape(-1, *[1] * (cond[name].ndim - 1))  # b 1 1, or b 1 1 1 1
            cond[name] = torch.where(gone, prepared.null_cond[name], cond[name])
        return cond

    def _masks_of(self, batch: Batch, tasks: Sequence[str], positions: Sequence[int]) -> Tensor:
        """The batch's own masks, or drawn here; float B T 1 H W."""
        if "mask" in batch:
            return batch["mask"].unsqueeze(2).float()
        B, T, H, W, _ = batch["video"].shape
        return self._masks(tasks, positions, torch.Size((B, T, 3, H, W)), self._patch)

    def _carried(self, noise: Tensor, batch: Batch, mask: Tensor) -> Tensor:
        """Noise B T C h w, in the holes that of the later frames that show what lies there."""
        flows = self._flows(batch, mask)
        holes = mask[:, :, 0].cpu().numpy() > 0
        clips = zip(noise, flows or [], holes, strict=True)
        return torch.stack([propagated_noise(own, motion_of([flow], hole[None], own[None])) for own, flow, hole in clips])

    def _flows(self, batch: Batch, mask: Tensor) -> list[Flows] | None:
        """The batch's own motion, or measured here."""
        if self._mode == "off":
            return None
        if "there" in batch:
            return [Flows(there.numpy(), back.numpy()) for there, back in zip(batch["there"].cpu(), batch["back"].cpu(), strict=True)]
        holes = mask[:, :, 0].numpy() > 0
        seen = np.where(holes[..., None], np.uint8(127), batch["video"].cpu().numpy())
        return [flows_of(*clip, self._config.flow) for clip in zip(seen, holes, strict=True)]

    def _from_first(self, video: Tensor, generators: Sequence[torch.Generator], strength: Tensor) -> Prepared:
        """What image-to-video nets are shown: the first frame's latents for every frame, and the first frame as token."""
        vae, known = self._pipeline.vae, torch.zeros_like(video[:, :1, :1])
        first = self._pipeline.prepare(video[:, :1], known, generators, fff_mode="off", noise_aug_strength=strength)
        x0 = encoded(vae, video, generators, self._pipeline.portions.encode) * float(vae.config.scaling_factor)
        image, blind = (cond["image"].expand_as(x0) for cond in (first.cond, first.null_cond))
        keep = Keep(x0, torch.ones_like(x0[:, :, :1]))
        return replace(first, x0=x0, keep=keep, cond={**first.cond, "image": image}, null_cond={**first.null_cond, "image": blind})

    @torch.no_grad()
    def _filled(self, video: Frames, mask: NDArray[np.bool_], steps: int, seed: int) -> Frames:
        """Fill by the pipeline's own call; of an image-to-video net, go on from the first frame."""
        generator = torch.Generator().manual_seed(seed)
        device = next(self.net.parameters()).device
        with self._held.awake(device):
            if self._config.shown == "masked":
                return self._pipeline(video, mask, generator=generator, num_inference_steps=steps).frames
            clip = to_tensor(video).to(device)
            prepared = self._from_first(clip, [torch.Generator(device).manual_seed(seed)], torch.full((1,), 0.02, device=device))
            ladder = self._pipeline.levels.ladder(steps)
            start = torch.randn(prepared.x0.shape, generator=generator).to(device) * (1 + float(ladder[0]) ** 2) ** 0.5
            latents = sample(self._pipeline.denoise(prepared), start, ladder, process=self._pipeline.process)
            made = from_tensor(self._pipeline.decode(latents, prepared))[0]
        return np.stack([composite(*parts) for parts in zip(video, made, np.ascontiguousarray(mask), strict=True)])


def _only_trained(module: nn.Module, state: dict[str, Tensor], prefix: str, _: object) -> None:
    """Leave out of a state what is not trained: it is the model that the run began with, and need not be written with every state."""
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            state.pop(prefix + name, None)


def _frozen_may_be_missing(module: nn.Module, found: IncompatibleKeys) -> None:
    """Take a state without what is not trained for whole."""
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    found.missing_keys[:] = [name for name in found.missing_keys if name.removeprefix("module.") not in frozen]
