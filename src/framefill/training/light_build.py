"""From a config to the objective of the light family: our net, or the published one that `framefill convert` reads."""

from __future__ import annotations

import inspect
import json
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.families.light import LightPipeline
from framefill.families.light_compat import LightCompatPipeline
from framefill.media.video import Frames
from framefill.nets import light, light_compat
from framefill.training.adversary import Adversary
from framefill.training.config import TrainConfig
from framefill.training.config_checks import check_options
from framefill.training.dataflow import draw_seed
from framefill.training.light_objective import Feedforward, LightObjective, Ready
from framefill.training.objective import Fill, Objective

Pipeline: TypeAlias = LightPipeline | LightCompatPipeline


def light_objective(config: TrainConfig) -> Objective:
    """Return the objective with its net, whose weights are drawn from the seed or read from `model.start`.

    Raises UsageError for names that do not exist and clips that are longer than what the net sees, WeightsError for a damaged start.
    """
    pipeline = _begun(config) if config.model.start else _new(config)
    if isinstance(pipeline, LightPipeline):
        return _around(pipeline, config, partial(_made, pipeline))
    if config.data.frames > pipeline.window:
        raise UsageError(f"data.frames is {config.data.frames}; {config.model.net} sees {pipeline.window} at once, set that or less")
    return _around(pipeline, config, partial(_made, pipeline))


def _around(pipeline: Feedforward[Ready], config: TrainConfig, fill: Fill) -> LightObjective[Ready]:
    opponent = None if config.adversary.kind == "none" else Adversary(config.adversary, config.run.seed)
    return LightObjective(
        pipeline, pipeline.net, fill, config.tasks, config.loss,
        size=config.data.size, opponent=opponent, seed=config.run.seed, patch=config.objective.mask_patch,
    )  # fmt: skip


def _tasks(config: TrainConfig) -> list[str]:
    return [name for name, share in config.tasks.items() if share > 0]


def _begun(config: TrainConfig) -> Pipeline:
    """Go on from a saved pipeline: its net, fed as it was; tasks and sizes are this run's."""
    start, data = Path(config.model.start), config.data
    if _class_of(start) == LightCompatPipeline.__name__:
        saved = LightCompatPipeline.from_pretrained(start)
        return LightCompatPipeline(saved.net.train(), _tasks(config), data.size, saved.surplus_padding)
    return LightPipeline(LightPipeline.from_pretrained(start).net.train(), _tasks(config), window=data.frames, size=data.size)


def _class_of(folder: Path) -> str:
    """The class that a folder says it holds; "" where it says nothing, which the pipeline then tells better."""
    try:
        return str(json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["_class_name"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _new(config: TrainConfig) -> Pipeline:
    """A net of a named size, its weights drawn from the seed. Without surplus padding, which costs half as much again on crops of 256."""
    model, data = config.model, config.data
    ours = model.net in light.PRESETS
    if not ours and model.net not in light_compat.PRESETS:
        raise UsageError(f"model.net is {model.net!r}; there are {', '.join((*light.PRESETS, *light_compat.PRESETS))}")
    kind = light.Light if ours else light_compat.LightCompat
    check_options(model.options, [name for name in inspect.signature(kind.__init__).parameters if name != "self"])
    with torch.random.fork_rng():
        torch.manual_seed(draw_seed(config.run.seed))
        if ours:
            return LightPipeline(
                light.Light(**{**light.PRESETS[model.net], **model.options}), _tasks(config), window=data.frames, size=data.size
            )
        net = light_compat.LightCompat(**{**light_compat.PRESETS[model.net], **model.options})
    return LightCompatPipeline(net, _tasks(config), data.size, surplus_padding=False)


def _made(pipeline: Pipeline, video: Frames, mask: NDArray[np.bool_], steps: int, seed: int) -> Frames:  # noqa: ARG001 - one pass, no noise
    return pipeline(video, mask).frames
