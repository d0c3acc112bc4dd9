"""What the trained net makes of clips that it never saw, by each task, and what plain methods make of the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from framefill.evaluation.protocols.base import Case
from framefill.evaluation.results import Result, fill_case, with_known
from framefill.evaluation.scored import Reference, Scored
from framefill.evaluation.table import METRICS
from framefill.evaluation.unit import counted
from framefill.families.vdt import VDTPipeline
from framefill.media.video import Frames
from framefill.training.objective import task_mask

PLAIN = ("nearest", "average", "linear")  # of evaluation's baselines, those that look at other frames
NET = "trained net"
MEASURES = {"psnr-hole": 1, "ssim-hole": 3}  # metrics by name, and with how many decimals they are told
SEED = 1234
NO_TRUTH = "generate"  # nobody expects a clip made from nothing to be a certain one


@dataclass(frozen=True)
class Filled:
    """The held-out clips under one task's masks, and what the net made of each."""

    task: str
    cases: Sequence[Case]
    made: Sequence[Frames]


Scores = dict[str, dict[str, dict[str, float]]]  # task, method, measure: the mean over the clips


def fill_all(pipeline: VDTPipeline, clips: Sequence[Frames], tasks: Sequence[str], patch: int, steps: int) -> list[Filled]:
    """Fill every clip by every task; masks and noise are the same in every run."""
    filled = []
    for task in tasks:
        cases = [_case(task, number, clip, patch) for number, clip in enumerate(clips)]
        generators = [torch.Generator().manual_seed(SEED + number) for number in range(len(cases))]
        given, masks = np.stack([case.given for case in cases]), np.stack([case.mask for case in cases])
        made = pipeline(given, masks, num_inference_steps=steps, generator=generators).frames
        filled.append(Filled(task, cases, list(made)))
    return filled


def score_all(filled: Sequence[Filled]) -> Scores:
    """Measure the net and the plain methods in the pixels that were unknown: a mean over a clip's frames, then over the clips."""
    scores: Scores = {}
    for part in filled:
        if part.task == NO_TRUTH:
            continue
        by_method = {NET: [_measured(case, made) for case, made in zip(part.cases, part.made, strict=True)]}
        by_method |= {name: [_measured(case, fill_case(case, name).frames) for case in part.cases] for name in PLAIN}
        scores[part.task] = {
            name: {measure: float(np.mean([clip[measure] for clip in clips])) for measure in MEASURES} for name, clips in by_method.items()
        }
    return scores


def _case(task: str, number: int, clip: Frames, patch: int) -> Case:
    T, H, W = clip.shape[:3]
    mask = task_mask(task, np.random.default_rng([SEED, number]), (T, H, W), patch)
    return Case(f"{number}", task, np.where(mask[..., None], np.uint8(127), clip), mask, clip)


def _measured(case: Case, made: Frames) -> dict[str, float]:
    frames = with_known(case, made)
    scored = Scored(Reference(case, "dis"), frames, Result(frames))
    values = {}
    for name in MEASURES:
        measured = METRICS[name].measure(scored)
        assert measured is not None, "a held-out clip is its own truth"
        values[name] = float(np.nanmean(counted(METRICS[name], np.asarray(measured, np.float64), case)))
    return values
