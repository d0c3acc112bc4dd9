"""Print how near what fills a stereo view's holes comes to the true view, in dB.

    python benchmarks/stereo_holes.py                         stretch, propagate and auto on ten scenes
    python benchmarks/stereo_holes.py stretch runs/mine/model --scenes 20 --edge-dilation 0

Procedural scenes, whose depth and other eye are known exactly; 16 frames of 320x192, the right eye. PSNR is over the pixels of the holes;
the last line is the mean over scenes. The other options are those of `framefill stereo`, at their defaults.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from framefill.jobs.eyes import EyeMaker, EyeSettings, Seen
from framefill.media.synthetic import Scene, make_scene
from framefill.media.video import Frame

FRAMES, HEIGHT, WIDTH = 16, 192, 320
MOST = 20.0  # percent between the eyes


def main() -> None:
    """Measure and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["stretch", "propagate", "auto"])
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument("--edge-dilation", type=int, default=EyeSettings().edge_dilation)
    args = parser.parse_args()
    print("| scene | holes | " + " | ".join(args.models) + " |")
    print("|---|---|" + "---|" * len(args.models))
    rows = []
    for number in range(args.scenes):
        hole, row = measured(number, args.models, args.edge_dilation)
        rows.append(row)
        print(f"| {number} | {hole:.1%} | " + " | ".join(f"{value:.1f}" for value in row) + " |", flush=True)
    print("| mean | | " + " | ".join(f"{value:.1f}" for value in np.nanmean(rows, 0)) + " |")


def measured(number: int, models: list[str], edge_dilation: int) -> tuple[float, list[float]]:
    """Return the share of a scene's right eye that is holes, and the PSNR in them of each model."""
    scene = make_scene(np.random.default_rng(number), FRAMES, HEIGHT, WIDTH)
    widest = float(scene.disparity.max())
    settings = EyeSettings(min(MOST, 100 * widest / WIDTH), convergence=0, eyes="right", edge_dilation=edge_dilation)
    seen = [Seen(Frame(index, rgb, index, 1), 0, scene.disparity[index] / np.float32(widest)) for index, rgb in enumerate(scene.frames)]
    hole = holes(settings, seen)
    return float(hole.mean()), [psnr(made(replace(settings, model=model), seen), scene, hole) for model in models]


def holes(settings: EyeSettings, seen: list[Seen]) -> NDArray[np.bool_]:
    """Where the warp leaves holes, T H W."""
    maker = EyeMaker(replace(settings, model="stretch"), is_metric=False)
    with ThreadPoolExecutor(1) as pool:
        return np.stack([maker.sights(each, pool)[0].view.hole for each in seen])


def made(settings: EyeSettings, seen: list[Seen]) -> NDArray[np.uint8]:
    """The right eye, uint8 T H W 3."""
    return np.stack([pair.right for pair in EyeMaker(settings, is_metric=False).pairs(iter(seen))])


def psnr(made: NDArray[np.uint8], scene: Scene, hole: NDArray[np.bool_]) -> float:
    """In dB over the holes; not a number where there are none."""
    if not hole.any():
        return float("nan")
    return float(10 * np.log10(255**2 / np.square(made[hole].astype(np.float64) - scene.other_eye[hole]).mean()))


if __name__ == "__main__":
    main()
