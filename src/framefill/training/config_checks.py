"""What a config may not say: numbers that cannot be, and settings that do not go together. Each is refused in one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from framefill.errors import UsageError

if TYPE_CHECKING:
    from framefill.training.config import DataConfig, TrainConfig

Range = tuple[str, object, bool, str]  # path, value, whether it is fine, what is expected
# What a family has no use for: a section, or a key of one.
UNUSED = {
    "vdt": ("loss", "adversary", "data.hard", "data.records", "fff"),
    "light": (
        "fff", "model.codec", "model.prior", "model.process", "model.sigma_data", "data.latents", "objective.density",
        "objective.density_mean", "objective.density_std", "objective.weight", "objective.per_frame_noise",
    ),
    "fff": (
        "loss", "adversary", "data.hard", "data.latents", "model.prior", "model.process", "model.sigma_data", "objective.per_frame_noise",
    ),
    "svd-vae": (
        "loss", "adversary", "fff", "data.hard", "data.latents", "data.records", "model.prior", "model.process", "model.sigma_data",
        "objective",
    ),
}  # fmt: skip


def check(config: TrainConfig) -> None:
    """Raise UsageError for what would only fail, or train nothing, later."""
    for path, value, fine, expected in (*_times(config), *_numbers(config)):
        if not fine:
            raise UsageError(f"{path} is {value}, expected {expected}")
    for conflict in (*_about_family(config), *_about_data(config), *_about_optimiser(config), *_about_fff(config)):
        raise UsageError(conflict)
    if any(share < 0 for share in config.tasks.values()) or (config.tasks and not any(config.tasks.values())):
        raise UsageError(f"tasks are {config.tasks}, expected shares of 0 or more, at least one above 0")
    if config.run.name and Path(config.run.name).name != config.run.name:
        raise UsageError(f"run.name is {config.run.name!r}, expected a plain name; the place is run.folder")


def check_options(given: Iterable[str], known: Sequence[str]) -> None:
    """Raise UsageError for a name in `model.options` that the net does not have, with the nearest one that it has."""
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise UsageError(
                f"unknown key model.options.{name}; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}")
            )


def comes_again(data: DataConfig) -> bool:
    """Whether the clips of an epoch are those of the one before, so that what was learnt of them counts."""
    return bool(data.records or data.manifest) and not data.procedural


def _times(config: TrainConfig) -> Iterator[Range]:
    run, optim = config.run, config.optim
    yield "run.samples", run.samples, run.samples > 0, "1 or more"
    yield "run.epoch", run.epoch, run.epoch >= 0, "0 or more"
    yield "run.epochs", run.epochs, run.epochs >= 0 and (run.epoch > 0 or not run.epochs), "0 or more, with run.epoch, the samples of one"
    yield "run.batch", run.batch, run.batch > 0, "1 or more"
    yield "run.micro_batch", run.micro_batch, run.micro_batch >= 0, "0 or more"
    yield "optim.cycles", optim.cycles, optim.cycles > 0, "1 or more"
    yield "optim.decay_epochs", optim.decay_epochs, optim.decay_epochs > 0, "1 or more"
    yield "adversary.warmup", config.adversary.warmup, config.adversary.warmup >= 0, "0 or more samples"
    yield "loss.lpips_from", config.loss.lpips_from, config.loss.lpips_from >= 0, "0 or more samples"
    yield "log.keep", config.log.keep, config.log.keep > 0, "1 or more"


def _numbers(config: TrainConfig) -> Iterator[Range]:
    data, objective, loss, optim, adversary, fff = config.data, config.objective, config.loss, config.optim, config.adversary, config.fff
    patch = objective.mask_patch
    yield "data.frames", data.frames, data.frames > 0, "1 or more"
    yield "data.size", data.size, data.size > 0, "1 or more pixels"
    yield "data.width", data.width, data.width >= 0, "0, for as much as data.size, or the width in pixels"
    yield "data.flip", data.flip, 0 <= data.flip <= 1, "0 to 1"
    yield "data.zoom", data.zoom, data.zoom >= 1, "1 or more"
    yield "data.procedural", data.procedural, 0 <= data.procedural < 1, "0 to below 1; without a manifest all clips are procedural"
    yield "data.workers", data.workers, data.workers >= 0, "0 or more"
    yield "data.hard_history", data.hard_history, data.hard_history > 0, "1 or more"
    fits = patch > 0 and not any(side % patch for side in data.shape)
    yield (
        "objective.mask_patch",
        patch,
        fits,
        f"a divisor of data.size {data.size}" + (f" and data.width {data.width}" if data.width else ""),
    )
    yield "objective.per_frame_noise", objective.per_frame_noise, 0 <= objective.per_frame_noise <= 1, "0 to 1"
    for name, weight in asdict(loss).items():
        if isinstance(weight, float):
            yield f"loss.{name}", weight, weight >= 0, "0 or more"
    yield "loss.l1", loss.l1, loss.l1 > 0, "above 0: the others compare changes, and leave the colour open"
    yield "loss.lpips_frames", loss.lpips_frames, loss.lpips_frames >= 0, "0 or more"
    yield "loss.lpips_size", loss.lpips_size, loss.lpips_size == 0 or loss.lpips_size >= 16, "0 or at least 16"
    yield "adversary.frames", adversary.frames, adversary.frames >= 0, "0 or more"
    yield "adversary.weight", adversary.weight, adversary.weight > 0, "above 0; adversary.kind none trains without"
    yield "adversary.lr", adversary.lr, adversary.lr > 0, "above 0"
    yield "fff.dropout", fff.dropout, 0 <= fff.dropout <= 1 / 3, "0 to a third: three kinds of it exclude each other"
    yield "fff.condition_std", fff.condition_std, fff.condition_std >= 0, "0 or more"
    yield "fff.fps", fff.fps, fff.fps >= 1, "1 or more"
    yield "fff.motion", fff.motion, 0 <= fff.motion <= 255, "0 to 255"
    yield "fff.lora_rank", fff.lora_rank, fff.lora_rank > 0, "1 or more"
    yield "fff.lora_alpha", fff.lora_alpha, fff.lora_alpha > 0, "1 or more"
    yield "optim.lr", optim.lr, optim.lr > 0, "above 0"
    yield "optim.final", optim.final, 0 <= optim.final <= 1, "0 to 1"
    yield "optim.decay", optim.decay, 0 < optim.decay <= 1, "above 0 and up to 1"
    yield "optim.weight_decay", optim.weight_decay, optim.weight_decay >= 0, "0 or more"
    yield "optim.clip", optim.clip, optim.clip >= 0, "0 or more"
    yield "validate.pictures", config.validate.pictures, config.validate.pictures >= 0, "0 or more"


def _about_family(config: TrainConfig) -> Iterator[str]:
    family, usual = config.model.family, asdict(type(config)())
    given = asdict(config)
    for path in UNUSED.get(family, ()):
        section, _, key = path.partition(".")
        ours, theirs = (tree[section][key] if key else tree[section] for tree in (given, usual))
        if ours != theirs:
            name = path if key else next(f"{section}.{own}" for own in ours if ours[own] != theirs[own])
            yield f"{name} means nothing to family {family}; leave it out, or train another"


def _about_data(config: TrainConfig) -> Iterator[str]:
    data = config.data
    if data.records and data.width:
        yield "data.records are cut as squares of data.size; leave data.width out"
    if data.records and (data.manifest or data.shards or data.latents or data.procedural):
        yield "data.records holds the clips and their masks; give no data.manifest, shards, latents or procedural beside it"
    if data.hard and not comes_again(data):
        yield "data.hard needs clips that come again: train on data.records or a data.manifest, without data.procedural"
    if (data.shards or data.latents) and not data.manifest:
        yield "data.shards and data.latents need data.manifest too: it names the clips held out, and their licences"
    if data.procedural and (data.latents or not data.manifest):
        yield "data.procedural mixes procedural clips among those of a data.manifest, in pixels; give one, and no data.latents"
    if data.shards and data.latents:
        yield "data.shards and data.latents are both given; give one of them"
    if data.latents and config.model.prior != "none":
        yield f"model.prior {config.model.prior} guesses from pixels, which data.latents does not hold; set model.prior to none"


def _about_fff(config: TrainConfig) -> Iterator[str]:
    fff, compute = config.fff, config.compute
    if fff.frozen not in ("fp32", compute.precision):
        yield f"fff.frozen {fff.frozen} goes with compute.precision {fff.frozen}, which is {compute.precision}; set them alike"
    if fff.frozen != "fp32" and compute.parallel == "fsdp":
        yield f"compute.parallel fsdp splits weights of one kind; leave fff.frozen at fp32, which fsdp makes {fff.frozen} where it computes"
    if fff.shown == "first" and fff.refiner:
        yield "fff.shown first hides nothing that a refiner could fill; set fff.refiner false, and fff.train all or temporal"
    if fff.shown == "first" and fff.noise == "propagated":
        yield "fff.shown first hides nothing that noise could be carried into; set fff.noise own"
    elif fff.noise == "propagated" and fff.refiner:
        yield "fff.noise propagated and the refiner are two modes of filling the first frame; set fff.refiner false, or fff.noise own"
    if fff.train == "refiner" and not fff.refiner:
        yield "fff.train refiner and fff.refiner false exclude each other; set one of them otherwise"
    if compute.offload and (compute.parallel == "fsdp" or config.optim.kind not in ("adamw", "adamw-8bit")):
        yield "compute.offload keeps what adamw or adamw-8bit remembers of whole weights; set one of them, and compute.parallel ddp"


def _about_optimiser(config: TrainConfig) -> Iterator[str]:
    optim, split = config.optim, config.compute.parallel == "fsdp"
    if optim.schedule == "step" and not config.run.epoch:
        yield "optim.schedule step goes by epochs; set run.epoch to the samples of one"
    if optim.weight_decay_end is not None and (optim.schedule not in ("cosine", "cyclic") or optim.weight_decay <= 0):
        yield ("optim.weight_decay_end needs an optim.weight_decay above 0, and a rate that falls: schedule cosine or cyclic")
    if split and optim.kind != "adamw":
        yield f"compute.parallel fsdp splits matrices, which optim.kind {optim.kind} cannot work on; set optim.kind adamw"
    if split and config.adversary.kind != "none":
        yield "compute.parallel fsdp splits one net, and adversary.kind trains a second; set compute.parallel ddp"
