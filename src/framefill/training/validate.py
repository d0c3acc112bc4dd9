"""How good a run's averaged weights are: clips held out are filled by the pipeline itself and measured with evaluation's metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from framefill.errors import UsageError
from framefill.evaluation.protocols.base import Case
from framefill.evaluation.results import Result, with_known
from framefill.evaluation.scored import Reference, Scored
from framefill.evaluation.table import METRICS, needed_weights
from framefill.evaluation.unit import BEST_PSNR
from framefill.media.video import Frame, Frames, VideoMeta
from framefill.media.writer import VideoWriter
from framefill.training.config import ValidateConfig
from framefill.training.objective import Objective, task_mask

FPS = 8
LEAST_HEIGHT = 128  # sample videos of small clips are enlarged to it
LOSS_DRAWS = 4
HELD_OUT = 2**48  # positions that no training reaches
GAP = 4  # pixels between the pictures of a sample video


class Masked(NamedTuple):
    """A clip held out that comes with its own mask, as a record does: uint8 T H W 3, bool T H W, and the mask's task."""

    video: Frames
    mask: NDArray[np.bool_]
    task: str


HeldOut: TypeAlias = "Frames | Masked"  # a bare clip is filled by every task


@dataclass(frozen=True)
class Filled:
    """A held-out clip with a mask, and what the model made of it: `number` in the round, the `first` of its task, its `own` mask."""

    task: str
    case: Case
    made: Frames
    number: int
    first: bool
    own: bool


def check_metrics(names: Sequence[str]) -> None:
    """Raise UsageError for a metric that does not exist, MissingWeights for one whose weights are not here."""
    for name in names:
        if name not in METRICS:
            raise UsageError(f"validate.metrics has {name!r}; there are {', '.join(METRICS)}")
    needed_weights(names, "dis", ())


def fill_held_out(
    objective: Objective, clips: Sequence[HeldOut], config: ValidateConfig, patch: int, share: tuple[int, int], firsts: bool = False
) -> Iterator[Filled]:
    """Fill each clip by each task, or by its own mask, with masks and seeds that never change; the `share` (rank, world) of this process.

    firsts: only the first clip of each task.
    """
    jobs = _jobs(list(objective.tasks), clips)
    first = {task: number for number, (task, _) in reversed(list(enumerate(jobs)))}
    chosen = [number for number in range(len(jobs)) if not firsts or number in first.values()]
    rank, world = share
    for number in chosen[rank::world]:
        task, which = jobs[number]
        clip = clips[which]
        truth = clip.video if isinstance(clip, Masked) else clip
        T, H, W = truth.shape[:3]
        mask = clip.mask if isinstance(clip, Masked) else task_mask(task, np.random.default_rng([config.seed, which]), (T, H, W), patch)
        case = Case(f"{which}", task, np.where(mask[..., None], np.uint8(127), truth), mask, truth)
        made = objective.fill(case.given, mask, config.steps, config.seed + which)
        yield Filled(task, case, with_known(case, made), number, first[task] == number, isinstance(clip, Masked))


def _jobs(tasks: Sequence[str], clips: Sequence[HeldOut]) -> list[tuple[str, int]]:
    """Each task with each bare clip, and each clip that has a mask with the task of that."""
    own = [(clip.task, number) for number, clip in enumerate(clips) if isinstance(clip, Masked)]
    bare = [number for number, clip in enumerate(clips) if not isinstance(clip, Masked)]
    return [(task, number) for task in tasks for number in bare] + own


def score(filled: Filled, metrics: Sequence[str]) -> dict[str, float]:
    """Measure a filled clip: `validate/METRIC/TASK` as a mean over its frames; what is undefined there is left out."""
    scored = Scored(Reference(filled.case, "dis"), filled.made, Result(filled.made))
    values: dict[str, float] = {}
    for name in metrics:
        measured = METRICS[name].measure(scored)
        if measured is not None and not np.isnan(measured).all():
            values[f"validate/{name}/{filled.task}"] = float(np.nanmean(np.where(np.isposinf(measured), BEST_PSNR, measured)))
    return values


def loss_of(objective: Objective, filled: Filled) -> dict[str, float]:
    """Return `validate/loss/TASK`: the training loss on this clip and task, over LOSS_DRAWS masks and noises that never change."""
    assert filled.case.truth is not None  # held-out clips are their own truth
    first = HELD_OUT + LOSS_DRAWS * int(filled.case.name)
    draws = 1 if filled.own else LOSS_DRAWS
    batch = {
        "video": _repeated(filled.case.truth, draws),
        "position": torch.arange(first, first + draws),
        "task": torch.full((draws,), list(objective.tasks).index(filled.task)),
    }
    parts = objective(batch | {"mask": _repeated(filled.case.mask, draws)} if filled.own else batch)
    total, count = parts[f"task/{filled.task}"].tolist()
    return {f"validate/loss/{filled.task}": total / count}


def _repeated(array: NDArray[np.generic], times: int) -> torch.Tensor:
    clip = torch.from_numpy(np.ascontiguousarray(array))[None]
    return clip.repeat(times, *[1] * array.ndim)


def mean_scores(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each measure over the clips that have it."""
    names = sorted({name for values in scores for name in values})
    return {name: float(np.mean([values[name] for values in scores if name in values])) for name in names}


def write_sample(filled: Filled, target: Path) -> None:
    """Write a video of what was given (hole grey), what was made and the truth, side by side."""
    assert filled.case.truth is not None  # held-out clips are their own truth
    scale = max(1, -(-LEAST_HEIGHT // filled.made.shape[1]))
    pictures = [_enlarged(frames, scale) for frames in (filled.case.given, filled.made, filled.case.truth)]
    gap = np.full((*pictures[0].shape[:2], GAP, 3), 255, np.uint8)
    rows = np.concatenate([pictures[0], gap, pictures[1], gap, pictures[2]], axis=2)
    rows = rows[:, : rows.shape[1] // 2 * 2, : rows.shape[2] // 2 * 2]  # H.264's chroma wants even sides
    target.parent.mkdir(parents=True, exist_ok=True)
    height, width = rows.shape[1:3]
    meta = VideoMeta(width, height, Fraction(1, FPS), Fraction(FPS), len(rows))
    with VideoWriter(target, meta, codec="h264", crf=12) as writer:
        for index, picture in enumerate(rows):
            writer.write(Frame(index, picture, index, 1), np.ascontiguousarray(picture))


def write_picture(filled: Filled, target: Path) -> None:
    """Write a PNG with a row for each frame: what was given (hole grey), what was made, the truth."""
    assert filled.case.truth is not None  # held-out clips are their own truth
    rows = np.concatenate([filled.case.given, filled.made, filled.case.truth], axis=2)  # t h 3w c
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(rows.reshape(-1, *rows.shape[2:]))).save(target)


def _enlarged(frames: Frames, scale: int) -> NDArray[np.uint8]:
    return frames.repeat(scale, axis=1).repeat(scale, axis=2)
