"""Print how the Fréchet video distance of generated clips falls while a run trains, from the averages that it stored on its way.

    python benchmarks/generation.py runs/vdt-tiny                 every stored average of the run, and an untrained net
    python benchmarks/generation.py runs/vdt-tiny --clips 256

The clips of a small net are shorter than I3D asks for, so both sets, the generated one and as many procedural clips that no training has
seen, are played to the end and back. The numbers compare with each other alone: published ones are of other clips, and of 2,048 or more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from framefill.evaluation.features.video import features_of
from framefill.evaluation.metrics.frechet import frechet_distance
from framefill.families.vdt import VDTPipeline
from framefill.media.synthetic import make_clip
from framefill.nets.vdt import VDT

SEED = 20_261
BATCH = 16
MADE_BY = "net."  # what a run's averages call the net


def main() -> None:
    """Measure each stored average and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    pipeline = VDTPipeline.from_pretrained(args.run / "model")
    shape = (pipeline.window, pipeline.size, pipeline.size)
    real, more = (np.stack([make_clip(np.random.default_rng([SEED, part, i]), *shape) for i in range(args.clips)]) for part in (0, 1))
    features = features_of(there_and_back(real))
    print(f"FVD of {args.clips} clips of {shape[0]} frames of {shape[1]}x{shape[2]}, played to the end and back; {args.steps} steps\n")
    print("| samples seen | FVD |\n|---|---|")
    print(f"| other procedural clips | {frechet_distance(features, features_of(there_and_back(more))):.0f} |", flush=True)
    stored = sorted((args.run / "ema").glob("power-*.safetensors"))
    width = stored[-1].name.rpartition("-")[0]
    for file in [None, *(file for file in stored if file.name.startswith(width))]:
        load(pipeline, file)
        made = features_of(there_and_back(generated(pipeline, args.clips, args.steps)))
        print(f"| {0 if file is None else int(file.stem.rpartition('-')[2]):,} | {frechet_distance(features, made):.0f} |", flush=True)


def load(pipeline: VDTPipeline, file: Path | None) -> None:
    """Give a pipeline the weights of a stored average, or of a net that has not been trained."""
    if file is None:
        torch.manual_seed(0)
        weights = VDT(**{name: value for name, value in pipeline.net.config.items() if not name.startswith("_")}).state_dict()
    else:
        weights = {name.removeprefix(MADE_BY): weight for name, weight in load_file(file).items()}
    pipeline.net.load_state_dict(weights)


def generated(pipeline: VDTPipeline, count: int, steps: int) -> NDArray[np.uint8]:
    """Make clips from noise alone, uint8 N T H W 3."""
    made = []
    for start in range(0, count, BATCH):
        noises = [torch.Generator().manual_seed(number) for number in range(start, min(start + BATCH, count))]
        blank = np.zeros((len(noises), pipeline.window, pipeline.size, pipeline.size, 3), np.uint8)
        made.append(pipeline(blank, np.ones(blank.shape[:4], np.bool_), num_inference_steps=steps, generator=noises).frames)
    return np.concatenate(made)


def there_and_back(clips: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Play clips N T H W 3 to the end and back."""
    return np.concatenate([clips, clips[:, ::-1]], axis=1)


if __name__ == "__main__":
    main()
