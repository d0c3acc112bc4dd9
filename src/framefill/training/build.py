"""From a config to what it names: the objective with its network and pipeline, the loader, the clips held out, the provenance."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from framefill.data.record_set import RecordDataset
from framefill.data.records import Record, Split, list_records, split_folders
from framefill.data.scan import Filters, ScanSettings, scan
from framefill.diffusion.precond import Process
from framefill.diffusion.variance import variational_bound
from framefill.diffusion.weights import WEIGHTS
from framefill.errors import UsageError
from framefill.media.video import Frames
from framefill.training.card import Provenance, Source
from framefill.training.config import ModelConfig, TrainConfig
from framefill.training.config_checks import check_options, comes_again
from framefill.training.cuts import cutting_by
from framefill.training.dataflow import Beside, ClipLoader, Order, draw_seed
from framefill.training.hard import HardExamples
from framefill.training.light_losses import WithMotion
from framefill.training.objective import Bound, MaskObjective, Noise, Objective
from framefill.training.trainer import Trainer
from framefill.training.validate import HeldOut, Masked

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
    config = with_own_tasks(config)
    footage = build_footage(config)
    run, data, hard = config.run, config.data, None
    if data.hard or (data.hard is None and comes_again(data)):
        hard = HardExamples(len(footage.train), run.epoch or len(footage.train), run.batch, run.seed, data.hard_history)
    loader = build_loader(config, footage, hard)
    return Trainer(config, build_objective(config), loader, held_out_clips(config, footage), footage.provenance, hard)


def build_objective(config: TrainConfig) -> Objective:
    """Return the objective of the config's family, its network's weights drawn from (seed) or read from `model.start`."""
    if config.model.family not in FAMILIES:
        raise UsageError(f"model.family is {config.model.family!r}; there are {', '.join(FAMILIES)}")
    return FAMILIES[config.model.family](config)


def build_loader(config: TrainConfig, footage: Footage, order: Order | None = None) -> ClipLoader:
    """Return the loader of the clips that are trained on, each once an epoch or in another `order`."""
    pin = torch.cuda.is_available() and config.compute.device == "auto"
    clips = WithMotion(footage.train) if config.model.family == "light" and config.loss.warp else footage.train
    return ClipLoader(clips, config.run.seed, config.data.workers, pin, order, beside=_beside(config))


def _beside(config: TrainConfig) -> Beside | None:
    """What the loader's workers make of a clip beside it."""
    if config.model.family != "fff":
        return None
    from framefill.training.fff_build import beside

    return beside(config)


def build_footage(config: TrainConfig) -> Footage:
    """Open the manifest, or set up procedural clips."""
    data, seed = config.data, config.run.seed
    if data.records:
        return _recorded(config)
    if not data.manifest:
        made = SyntheticDataset(data.procedural_clips, data.frames, data.shape, seed)
        unseen = SyntheticDataset(max(1, config.validate.clips), data.frames, data.shape, draw_seed(seed, HELD_OUT))
        return Footage(made, unseen, Provenance("Procedural clips made by framefill's own `media.synthetic`; no footage of any camera."))
    clips = read_manifest(manifest_of(config))
    own = [clip for clip in clips if clip.split == data.eval_split]
    held = ClipDataset(own, data.frames, data.shape, data.fps, seed, split=None, sampling="strided") if own else None
    footage, words = _trained_on(config, clips), "Footage, by the manifest of the run:"
    if data.procedural:
        footage = MixedDataset(footage, SyntheticDataset(made_beside(len(footage), data.procedural), data.frames, data.shape, seed))
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
            filters = Filters(min_frames=config.data.frames, min_side=min(64, *config.data.shape))
            scan(ScanSettings(given, cutting=cutting, filters=filters), scanned)
    return scanned


def held_out_clips(config: TrainConfig, footage: Footage) -> list[HeldOut]:
    """Read `validate.clips` clips held out, spread evenly over all there are; records with their masks."""
    held = footage.held_out
    if held is None or config.validate.clips == 0:
        return []
    count = min(config.validate.clips, len(held))
    tasks = [name for name, share in config.tasks.items() if share > 0]
    return [_held(held[int(number)], tasks) for number in np.linspace(0, len(held) - 1, count)]


def _trained_on(config: TrainConfig, clips: list[Clip]) -> Clips:
    data, seed = config.data, config.run.seed
    if data.shards:
        return ShardDataset(data.shards, data.frames, data.shape, seed, flip=data.flip, zoom=data.zoom)
    if data.latents:
        return LatentDataset(clips, _latents(config), data.frames, data.fps, seed)
    return ClipDataset(clips, data.frames, data.shape, data.fps, seed, split="train", flip=data.flip, zoom=data.zoom)


def with_own_tasks(config: TrainConfig) -> TrainConfig:
    """Leave of the tasks of a run on records those that its records have: a model says which it learned."""
    if not config.data.records:
        return config
    kinds = {record.kind for record in list_records(_record_folders(config)["train"])}
    return replace(config, tasks={name: share for name, share in config.tasks.items() if name in kinds} or config.tasks)


def _record_folders(config: TrainConfig) -> dict[Split, Path]:
    """Where a run's records are: in ROOT/train and ROOT/eval, given ROOT or one of these, or in a folder of another name."""
    folders = split_folders(Path(config.data.records))
    return folders if folders["train"].is_dir() else {**folders, "train": Path(config.data.records)}


def _recorded(config: TrainConfig) -> Footage:
    """Open the records of a run, and of those set apart the kinds that it learns. Raises UsageError for kinds that have no share."""
    data, seed = config.data, config.run.seed
    folders = _record_folders(config)
    records = list_records(folders["train"])
    if not records:
        raise UsageError(f"{folders['train']} holds no records; make some: framefill data records VIDEO -o {data.records}")
    tasks = [name for name, share in config.tasks.items() if share > 0]
    kinds = {record.kind for record in records}
    apart = [record for record in list_records(folders["eval"]) if record.kind in kinds] if folders["eval"].is_dir() else []
    missing = sorted(kinds - set(tasks))
    if missing:
        raise UsageError(f"data.records holds masks of task {missing[0]!r}, which has no share; set tasks.{missing[0]} 1")
    train = RecordDataset(records, data.frames, data.size, seed, flip=data.flip, tasks=tasks)
    held = RecordDataset(apart, data.frames, data.size, seed, sampling="fixed", tasks=tasks) if apart else None
    named = {str(hole.get("depth")) for record in train.records if isinstance(hole := record.about.get("hole"), dict)}
    depths = sorted({"synthetic" if name.startswith("synthetic-") else name for name in named})  # each of its scenes has a name
    words = f"Records ({len(train)}) made by framefill data records" + (f" with depth by {', '.join(depths)}" if depths else "") + ", of:"
    return Footage(train, held, Provenance(words, _sources_of_records(train.records)))


def _sources_of_records(records: Sequence[Record]) -> list[Source]:
    """List each video that records were made of once; records of other makers do not say."""
    found = {}
    for record in records:
        source = record.about.get("source")
        told = source if isinstance(source, dict) else {}
        name, licence, sha256 = (str(told.get(key, other)) for key, other in (("name", "unknown"), ("licence", ""), ("sha256", "")))
        found[name, sha256] = Source(name, licence, sha256)
    return [found[key] for key in sorted(found)]


def _held(item: Mapping[str, object], tasks: Sequence[str]) -> HeldOut:
    video, mask, task = (item.get(key) for key in ("video", "mask", "task"))
    assert isinstance(video, torch.Tensor)
    if isinstance(mask, torch.Tensor) and isinstance(task, torch.Tensor):
        return Masked(np.asarray(video.numpy()), np.asarray(mask.numpy()), tasks[int(task)])
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
    return cache_for(config.data.latents, config.model.codec, config.data.shape)


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
    pipeline = VDTPipeline(net, process, codec, tasks, window=data.frames, size=min(data.shape), prior=prior)
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


def _light(config: TrainConfig) -> Objective:
    from framefill.training.light_build import light_objective

    return light_objective(config)


def _fff(config: TrainConfig) -> Objective:
    from framefill.training.fff_build import fff_objective

    return fff_objective(config)


def _svd_vae(config: TrainConfig) -> Objective:
    from framefill.training.vae_objective import vae_objective

    return vae_objective(config)


FAMILIES: dict[str, Callable[[TrainConfig], Objective]] = {"vdt": _vdt, "light": _light, "fff": _fff, "svd-vae": _svd_vae}


def _new_vdt(model: ModelConfig, codec: Codec, seed: int) -> VDT:
    """Make a net of a named size, its weights drawn from the seed."""
    from framefill.nets.vdt import PRESETS, VDT

    if model.net not in PRESETS:
        raise UsageError(f"model.net is {model.net!r}; there are {', '.join(PRESETS)}")
    check_options(model.options, [name for name in inspect.signature(VDT.__init__).parameters if name not in ("self", "in_channels")])
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
