"""Print how near a trained model comes to clips that it has never seen, task by task, beside methods that learn nothing.

    python benchmarks/tasks.py                      the weights that come along, on 64 procedural clips
    python benchmarks/tasks.py runs/mine/model      your own
    python benchmarks/tasks.py MODEL --clips 200 --steps 1 20

PSNR of the pixels that were hidden, each clip by itself, then the mean over the clips. Every method gets the same clips and the same masks,
drawn from a seed that no training uses. One step gives the model's mean of what may be there, more steps one draw of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.evaluation.baselines import BASELINES
from framefill.families.trained import SHIPPED
from framefill.families.vdt import VDTPipeline
from framefill.families.whole import fill_whole
from framefill.media.synthetic import make_clip
from framefill.media.tasks import TASKS

SEED = 20_260  # of the clips and masks; training draws its own from run.seed, 0 where nothing else is said
RIVALS = ("nearest", "average", "linear", "telea")
BATCH = 16

Clips = NDArray[np.uint8]  # B T H W 3
Masks = NDArray[np.bool_]  # B T H W


def main() -> None:
    """Measure every task of the model and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=SHIPPED / "vdt-tiny")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--cell", type=int, default=4, help="pixels of the cells that masks are drawn on")
    args = parser.parse_args()
    pipeline = VDTPipeline.from_pretrained(args.model)
    clips = np.stack(
        [make_clip(np.random.default_rng([SEED, i]), pipeline.window, pipeline.size, pipeline.size) for i in range(args.clips)]
    )
    print(f"{args.clips} procedural clips of {pipeline.window} frames of {pipeline.size}x{pipeline.size}; PSNR in dB of what was hidden\n")
    print("| task | " + " | ".join([*(f"{args.model.name}, {steps} steps" for steps in args.steps), *RIVALS]) + " |")
    print("|---|" + "---|" * (len(args.steps) + len(RIVALS)))
    for task, masks in tasks_of(pipeline, args.clips, args.cell).items():
        made = [sampled(pipeline, clips, masks, steps) for steps in args.steps] + [filled(name, clips, masks) for name in RIVALS]
        print(f"| {task} | " + " | ".join(f"{likeness(each, clips, masks):.2f}" for each in made) + " |", flush=True)


def tasks_of(pipeline: VDTPipeline, count: int, cell: int) -> dict[str, Masks]:
    """Draw masks B T H W for every task of the model, and for prediction and interpolation at fixed numbers of known frames."""
    T, side = pipeline.window, pipeline.size
    found: dict[str, Masks] = {}
    for name in pipeline.tasks:
        cells = np.stack([TASKS[name](np.random.default_rng([SEED, i, 1]), T, side // cell, side // cell) for i in range(count)])
        found[name] = cells.repeat(cell, 2).repeat(cell, 3)
    fixed = [("predict", "predict from 2", [0, 1]), ("predict", "predict from half", list(range(T // 2)))]
    for name, case, known in [*fixed, ("interpolate", "interpolate the middle", [0, T - 1])]:
        if name in pipeline.tasks:
            found[case] = np.ones((count, T, side, side), np.bool_)
            found[case][:, known] = False
    return dict(sorted(found.items()))


def sampled(pipeline: VDTPipeline, clips: Clips, masks: Masks, steps: int) -> Clips:
    """Fill the clips with the model, noise drawn for each clip from its number."""
    made = []
    for start in range(0, len(clips), BATCH):
        part = slice(start, start + BATCH)
        noises = [torch.Generator().manual_seed(number) for number in range(*part.indices(len(clips)))]
        made.append(pipeline(hidden(clips[part], masks[part]), masks[part], num_inference_steps=steps, generator=noises).frames)
    return np.concatenate(made)


def filled(name: str, clips: Clips, masks: Masks) -> Clips:
    """Fill the clips with a method that learns nothing."""
    rival = BASELINES[name].make()
    return np.stack([fill_whole(clip, mask, rival).frames for clip, mask in zip(hidden(clips, masks), masks, strict=True)])


def hidden(clips: Clips, masks: Masks) -> Clips:
    """Return the clips with mid-grey where they are hidden."""
    return np.where(masks[..., None], np.uint8(127), clips)


def likeness(made: Clips, truth: Clips, masks: Masks) -> float:
    """Return the mean over the clips of the PSNR of what was hidden, dB."""
    if not masks.any((1, 2, 3)).all():
        raise UsageError("a mask hides nothing")
    errors = [np.square(a[mask].astype(np.float64) - b[mask]).mean() for a, b, mask in zip(made, truth, masks, strict=True)]
    return float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-3))))


if __name__ == "__main__":
    main()
