"""From a config to what it names: the objective with its network and pipeline, the loader, the clips held out, the provenance."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from torch import Tensor

from framefill.data.dataset import ClipDataset, Clips, MixedDataset, SyntheticDataset, made_beside
from framefill.data.latents import LatentCache, LatentDataset, cache_for
from framefill.data.manifest import Clip, read_manifest
from framefill.data.packed import ShardDataset
from framefill.data.scan import Filters, ScanSettings, scan
from framefill.diffusion.precond import Process
from framefill.diffusion.variance import variational_bound
from framefill.diffusion.weights import WEIGHTS
from framefill.errors import UsageError
from framefill.media.video import Frames
from framefill.training.card import Provenance, Source
from framefill.training.config import ModelConfig, TrainConfig
from framefill.training.cuts import cutting_by
from framefill.training.dataflow import ClipLoader, draw_seed
from framefill.training.objective import Bound, MaskObjective, Noise, Objective
from framefill.training.trainer import Trainer

if TYPE_CHECKING:
    from framefill.families.vdt import Prepared, VDTPipeline
    from framefill.nets.codec import Codec
    from framefill.nets.vdt import VDT

HELD_OUT = 1  # mixed into the seed of procedural clips that are held out
WHOLE_FRAMES = ("predict", "backward", "interpolate", "single", "random", "generate")


@dataclass(frozen=True)
class Footage:
    """The clips of a run: those trained on, those held out (may be none), and where they are from."""

    train: Clips
    held_out: Clips | None
    provenance: Provenance


def build_trainer(config: TrainConfig) -> Trainer:
    """Return the trainer of a config, ready to `fit`. Raises UsageError for names that do not exist and parts that do not fit."""
    footage = build_footage(config)
    return Trainer(config, build_objective(config), build_loader(config, footage), held_out_clips(config, footage), footage.provenance)


def build_objective(config: TrainConfig) -> Objective:
    """Return the objective of the config's family, its network's weights drawn from (seed) or read from `model.start`."""
    if config.model.family not in FAMILIES:
        raise UsageError(f"model.family is {config.model.family!r}; there are {', '.join(FAMILIES)}")
    return FAMILIES[config.model.family](config)


def build_loader(config: TrainConfig, footage: Footage) -> ClipLoader:
    """Return the loader of the clips that are trained on."""
    return ClipLoader(
        footage.train, config.run.seed, config.data.workers, pin=torch.cuda.is_available() and config.compute.device == "auto"
    )


def build_footage(config: TrainConfig) -> Footage:
    """Open the manifest, or set up procedural clips."""
    data, seed = config.data, config.run.seed
    if not data.manifest:
        made = SyntheticDataset(data.procedural_clips, data.frames, data.size, seed)
        unseen = SyntheticDataset(max(1, config.validate.clips), data.frames, data.size, draw_seed(seed, HELD_OUT))
        return Footage(made, unseen, Provenance("Procedural clips made by framefill's own `media.synthetic`; no footage of any camera."))
    clips = read_manifest(manifest_of(config))
    own = [clip for clip in clips if clip.split == data.eval_split]
    held = ClipDataset(own, data.frames, data.size, data.fps, seed, split=None, sampling="strided") if own else None
    footage, words = _trained_on(config, clips), "Footage, by the manifest of the run:"
    if data.procedural:
        footage = MixedDataset(footage, SyntheticDataset(made_beside(len(footage), data.procedural), data.frames, data.size, seed))
        words = f"Procedural clips made by framefill's own `media.synthetic` (share {data.procedural:g}), and footage, by the manifest:"
    return Footage(footage, held, Provenance(words, sources_of(clips)))


def manifest_of(config: TrainConfig) -> Path:
    """Return the run's manifest; where a folder was given, the one that its scan wrote into the run's folder, by the first process."""
    given = Path(config.data.manifest)
    if not given.is_dir():
        return given
    scanned = Path(config.run.folder) / config.run.name / "manifest.jsonl"
    with PartialState(cpu=config.compute.device == "cpu").main_process_first():
        if not scanned.exists():
            cutting, _ = cutting_by("auto")
            filters = Filters(min_frames=config.data.frames, min_side=min(64, config.data.size))
            scan(ScanSettings(given, cutting=cutting, filters=filters), scanned)
    return scanned


def held_out_clips(config: TrainConfig, footage: Footage) -> list[Frames]:
    """Read `validate.clips` clips held out, spread evenly over all there are."""
    held = footage.held_out
    if held is None or config.validate.clips == 0:
        return []
    count = min(config.validate.clips, len(held))
    return [_frames(held[int(number)]) for number in np.linspace(0, len(held) - 1, count)]


def _trained_on(config: TrainConfig, clips: list[Clip]) -> Clips:
    data, seed = config.data, config.run.seed
    if data.shards:
        return ShardDataset(data.shards, data.frames, data.size, seed, flip=data.flip)
    if data.latents:
        return LatentDataset(clips, _latents(config), data.frames, data.fps, seed)
    return ClipDataset(clips, data.frames, data.size, data.fps, seed, split="train", flip=data.flip)


def _frames(item: Mapping[str, object]) -> Frames:
    video = item["video"]
    assert isinstance(video, torch.Tensor)
    return np.asarray(video.numpy())


def sources_of(clips: list[Clip]) -> list[Source]:
    """List each source that was trained on once, by its file's name."""
    found = {(clip.path.name, clip.sha256): clip for clip in clips if clip.split == "train"}
    return [Source(clip.path.name, clip.licence, clip.sha256) for clip in found.values()]


def _latents(config: TrainConfig) -> LatentCache:
    """Find the cache of the model's codec, for tasks that hide whole frames: cached latents of a frame tell of all its pixels."""
    parts = [name for name, share in config.tasks.items() if share > 0 and name not in WHOLE_FRAMES]
    if parts:
        raise UsageError(
            f"data.latents serves tasks of whole frames only, not {', '.join(parts)}; set tasks.{parts[0]} to 0, or encode as you go"
        )
    return cache_for(config.data.latents, config.model.codec, config.data.size)


def _vdt(config: TrainConfig) -> Objective:
    from framefill.families.vdt import VDTPipeline

    model, data = config.model, config.data
    tasks = [name for name, share in config.tasks.items() if share > 0]
    if model.start:
        begun = VDTPipeline.from_pretrained(model.start)
        net, process, codec, prior = begun.net.train(), begun.process, begun.codec, begun.prior
    else:
        codec, prior = _codec(model.codec), model.prior
        process = Process(model.process, sigma_data=model.sigma_data)
        net = _new_vdt(model, codec, config.run.seed)
    pipeline = VDTPipeline(net, process, codec, tasks, window=data.frames, size=data.size, prior=prior)
    objective = config.objective
    density = partial(process.draw, density=objective.density, mean=objective.density_mean, std=objective.density_std)
    noise = Noise(density, partial(WEIGHTS[objective.weight], process), objective.per_frame_noise)
    return MaskObjective(
        pipeline, net, partial(_filled, pipeline), config.tasks, noise,
        seed=config.run.seed, patch=objective.mask_patch, bound=_bound(pipeline),
    )  # fmt: skip


def _bound(pipeline: VDTPipeline) -> Bound[Prepared] | None:
    """The variational bound, for a net that learns a variance. Raises UsageError for a process that has no steps to learn it for."""
    if not pipeline.net.config.learned_variance:
        return None
    if pipeline.process.kind not in ("eps", "v"):
        raise UsageError(
            f"this net learns the variance of steps, which model.process {pipeline.process.kind} does not have; set model.process eps"
        )

    def bound(prepared: Prepared, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        made, learned = pipeline.denoise_with_variance(prepared)(x, sigma)
        return made, variational_bound(pipeline.process, prepared.x0, made, learned, sigma)

    return bound


FAMILIES: dict[str, Callable[[TrainConfig], Objective]] = {"vdt": _vdt}


def _new_vdt(model: ModelConfig, codec: Codec, seed: int) -> VDT:
    """Make a net of a named size, its weights drawn from the seed."""
    from framefill.nets.vdt import PRESETS, VDT

    if model.net not in PRESETS:
        raise UsageError(f"model.net is {model.net!r}; there are {', '.join(PRESETS)}")
    known = [name for name in inspect.signature(VDT.__init__).parameters if name not in ("self", "in_channels")]
    for name in model.options:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise UsageError(
                f"unknown key model.options.{name}; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}")
            )
    with torch.random.fork_rng():
        torch.manual_seed(draw_seed(seed))
        return VDT(**{**PRESETS[model.net](codec.channels), **model.options})


def _codec(name: str) -> Codec:
    from framefill.nets.codec import Pixels, load_autoencoder

    kind, slash, side = name.partition("/")
    if kind == "pixels" and (not slash or side.isdigit()):
        return Pixels(int(side or 1))
    return load_autoencoder(name)


def _filled(pipeline: VDTPipeline, video: Frames, mask: NDArray[np.bool_], steps: int, seed: int) -> Frames:
    generator = torch.Generator().manual_seed(seed)
    return pipeline(video, mask, num_inference_steps=steps, generator=generator, overlap=0).frames
