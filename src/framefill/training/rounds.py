"""Round after round of fine-tuning: each begins at zero samples, with a new optimiser, from what the one before has learnt.

So iw3's author goes on after the cyclic schedule, schedule-free, until nothing is gained any more (nunif's `--resume --reset-state`).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from accelerate import PartialState

from framefill.errors import UsageError
from framefill.training.checkpoint import PROGRESS, States
from framefill.training.config import TrainConfig, from_tree, read_yaml
from framefill.training.lock import one_run


def begin_round(config: TrainConfig) -> TrainConfig:
    """Set the run that stands in the config's folder aside, as NAME-round-K, and return the config of one that starts from its model.

    A round that is not over yet goes on. Raises UsageError where there is nothing to begin from, or `model.start` says otherwise, JobError
    while another process trains there.
    """
    if config.model.start:
        raise UsageError(f"--reset-state begins from the model of {config.run.name}, --model.start from another; leave one of them out")
    folder = Path(config.run.folder) / config.run.name
    with PartialState(cpu=config.compute.device == "cpu").main_process_first():
        if PartialState().is_main_process and not _goes_on(folder, config):
            if not (folder / "model").is_dir():
                raise UsageError(f"--reset-state begins from the model of {folder}, which has none yet; train without it first")
            with one_run(folder):
                folder.replace(_aside(folder, len(_before(folder)) + 1))
    return replace(config, model=replace(config.model, start=str(_before(folder)[-1] / "model")))


def _goes_on(folder: Path, config: TrainConfig) -> bool:
    """Whether the folder holds a round that began from the one before it and is not over."""
    before, state = _before(folder), States(folder / "state", config.log.keep).newest()
    if not before or not (folder / "config.yaml").exists():
        return bool(before) and not (folder / "model").is_dir()  # a round that was cut off before its first state begins again
    if from_tree(read_yaml(folder / "config.yaml")).model.start != str(before[-1] / "model"):
        return False
    return state is None or json.loads((state / PROGRESS).read_text(encoding="utf-8"))["samples"] < config.run.samples


def _aside(folder: Path, number: int) -> Path:
    return folder.with_name(f"{folder.name}-round-{number}")


def _before(folder: Path) -> list[Path]:
    """The rounds that stand aside, in order."""
    found: list[Path] = []
    while (following := _aside(folder, len(found) + 1)).is_dir():
        found.append(following)
    return found
