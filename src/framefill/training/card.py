"""The model card: what a network is, what it learned from, how, and how good it is; written beside its weights as README.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from framefill import __version__
from framefill.training.checkpoint import Progress
from framefill.training.config import RunConfig, TrainConfig, to_yaml
from framefill.training.ema import trainable
from framefill.training.journal import read_records
from framefill.training.objective import Objective

SHOWN = 400  # sources listed in the card; the rest are counted


@dataclass(frozen=True)
class Source:
    """One clip that was trained on: its name (never a path of this machine), licence and the sha256 of its content."""

    name: str
    licence: str
    sha256: str


@dataclass(frozen=True)
class Provenance:
    """What a network learned from: a sentence, and every clip of natural footage."""

    about: str
    sources: Sequence[Source] = ()


def write_card(folder: Path, config: TrainConfig, objective: Objective, progress: Progress, provenance: Provenance | None) -> None:
    """Write model/README.md of a run's folder."""
    trained = sum(p.numel() for p in trainable(objective).values())
    parts = [
        _front(config, provenance),
        f"# {config.run.name}\n",
        f"A {config.model.family} network of {trained:,} trained parameters that fills what a mask marks in clips of {config.data.frames} "
        f"frames of {config.data.shape[1]}x{config.data.shape[0]} pixels. It was trained on these tasks only:\n",
        _tasks(config, objective),
        "## Training\n",
        f"{progress.samples:,} clips seen in {progress.seconds / 60:.0f} minutes of training with framefill {__version__} and "
        f"torch {torch.__version__}. Saved are {_which_weights(config)}.\n",
        _began_from(config),
        _last_numbers(folder),
        "## Data\n",
        _data(provenance),
        "## Recipe\n",
        f"```yaml\n{to_yaml(without_places(config))}```\n",
        "Run it again with `framefill train PRESET --config config.yaml`, with the text above as config.yaml.\n",
    ]
    (folder / "model").mkdir(parents=True, exist_ok=True)
    (folder / "model" / "README.md").write_text("\n".join(part for part in parts if part), encoding="utf-8")


def _front(config: TrainConfig, provenance: Provenance | None) -> str:
    """The block that model hubs read."""
    licences = sorted({source.licence for source in provenance.sources if source.licence}) if provenance else []
    lines = ["---", "library_name: framefill", "pipeline_tag: video-to-video", f"tags: [video, diffusion, {config.model.family}]"]
    if licences:
        lines.append(f"training_data_licences: [{', '.join(repr(licence) for licence in licences)}]")
    return "\n".join([*lines, "---", ""])


def without_places(config: TrainConfig) -> TrainConfig:
    """The recipe with the names of files and folders, not where they lay on the machine that trained."""
    data = config.data
    return replace(
        config,
        run=replace(config.run, folder=RunConfig.folder),
        data=replace(
            data, manifest=_name(data.manifest), records=_name(data.records), shards=_name(data.shards), latents=_name(data.latents)
        ),
        model=replace(config.model, codec=_name(config.model.codec), start=_name(config.model.start)),
    )


def _name(place: str) -> str:
    return Path(place).name


def _tasks(config: TrainConfig, objective: Objective) -> str:
    total = sum(objective.tasks.values())
    rows = [f"| {name} | {share / total:.1%} |" for name, share in objective.tasks.items()]
    cells = f"Masks were drawn on cells of {config.objective.mask_patch} pixels.\n"
    return "\n".join(["| task | share of the samples |", "|---|---|", *rows, "", cells])


def _which_weights(config: TrainConfig) -> str:
    if config.ema.kind == "power":
        return f"the weights' power-function average of relative width {config.ema.sigma_rel[0]:g}"
    if config.ema.kind == "half-life":
        return f"the weights' average with a half-life of {config.ema.half_life:,.0f} samples"
    return "the weights themselves"


def _began_from(config: TrainConfig) -> str:
    """What a run went on from, where it did: its licence goes along."""
    if not config.model.start:
        return ""
    start = Path(config.model.start)
    name = start.parent.name if start.name == "model" else start.name  # runs/NAME/model
    return f"It went on from the weights of {name}; their licence holds for these too.\n"


def _last_numbers(folder: Path) -> str:
    """The last loss and the last validation, as tables."""
    records = read_records(folder)
    lines: list[str] = []
    losses = [record for record in records if "loss" in record]
    if losses:
        lines += [
            f"Training loss at {losses[-1]['samples']:,.0f} samples: {losses[-1]['loss']:.4f} (first line: {losses[0]['loss']:.4f}).",
            "",
        ]
    measured = [record for record in records if any(name.startswith("validate/") for name in record)]
    if measured:
        last = measured[-1]
        names = [name for name in last if name.startswith("validate/")]
        lines += [f"On clips held out, at {last['samples']:,.0f} samples:", "", "| task | measure | value |", "|---|---|---|"]
        lines += [f"| {name.split('/')[2]} | {name.split('/')[1]} | {last[name]:.4g} |" for name in names] + [""]
    return "\n".join(lines)


def _data(provenance: Provenance | None) -> str:
    if provenance is None:
        return "What it learned from was not recorded.\n"
    lines = [provenance.about, ""]
    if provenance.sources:
        counts = Counter(source.licence or "not stated" for source in provenance.sources)
        lines += [", ".join(f"{count} clips: {licence}" for licence, count in counts.most_common()), ""]
        lines += ["| clip | licence | sha256 of its content |", "|---|---|---|"]
        lines += [f"| {source.name} | {source.licence or 'not stated'} | {source.sha256} |" for source in provenance.sources[:SHOWN]]
        if len(provenance.sources) > SHOWN:
            lines.append(f"\nand {len(provenance.sources) - SHOWN} more")
    return "\n".join([*lines, ""])
