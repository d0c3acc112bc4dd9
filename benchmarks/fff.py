"""Print what the ways of filling the first frame are worth to an image-to-video inpainter, and beside it what learns nothing.

    python benchmarks/fff.py runs/fff-nano/model
    python benchmarks/fff.py MODEL --clips 96 --steps 12 --guidance 1,1

Procedural clips and masks that no training uses: PSNR in the hole of each clip, of all frames and of the first one, and the mean of the
paired differences to `off` with its 95 % interval (Student's t). Every way begins with the same noise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from framefill.evaluation.baselines import BASELINES
from framefill.families import get
from framefill.families.fff.pipeline import FFFMode, FFFPipeline
from framefill.families.whole import fill_whole
from framefill.media.synthetic import make_clip
from framefill.media.tasks import TASKS

SEED = 20_261  # of the clips and masks; training draws its own from run.seed
HOLES = ("static-shape", "moving-shape", "moving-box", "inpaint-object")
RIVALS = ("telea", "auto", "vdt-tiny")
Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W
Way = Callable[[Frames, Mask, int], Frames]  # a clip, its hole and its number -> the clip filled


def main() -> None:
    """Measure every way on the same clips and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", default="1,1", help="from the first frame to the last")
    args = parser.parse_args()
    pipeline = FFFPipeline.from_pretrained(args.model)
    low, high = (float(part) for part in args.guidance.split(","))
    clips = [drawn(number, pipeline.window, pipeline.size) for number in range(args.clips)]
    guidance = {"min_guidance_scale": low, "max_guidance_scale": high}

    def by_net(mode: FFFMode, frames: Frames, mask: Mask, number: int) -> Frames:
        noise = torch.Generator().manual_seed(number)
        made: Frames = pipeline(frames, mask, generator=noise, fff_mode=mode, num_inference_steps=args.steps, **guidance).frames
        return made

    modes: tuple[FFFMode, ...] = ("off", "latent", "feature") if pipeline.unet.config.refiner else ("off", "latent")
    ways: dict[str, Way] = {mode: partial(by_net, mode) for mode in modes}
    ways |= {rival: partial(by_rival, rival) for rival in RIVALS}
    about = f"{args.clips} clips of {pipeline.window} frames of {pipeline.size}x{pipeline.size}"
    print(f"{about}, {args.steps} steps, guidance {args.guidance}\n")
    print("| way | PSNR in the hole | against off | in the first frame's | against off | seconds a clip |\n|---|---|---|---|---|---|")
    base: NDArray[np.float64] | None = None
    for name, way in ways.items():
        start = time.process_time()
        made = [way(np.where(mask[..., None], np.uint8(0), frames), mask, number) for number, (frames, mask) in enumerate(clips)]
        seconds = (time.process_time() - start) / args.clips
        pairs = zip(made, clips, strict=True)
        values = np.array([(psnr(one, *clip), psnr(one[:1], clip[0][:1], clip[1][:1])) for one, clip in pairs])
        base = values if base is None else base
        whole, first = ((f"{np.nanmean(values[:, n]):.2f} dB", against(values[:, n] - base[:, n])) for n in (0, 1))
        print(f"| {name} | {whole[0]} | {whole[1]} | {first[0]} | {first[1]} | {seconds:.2f} |", flush=True)


def by_rival(name: str, frames: Frames, mask: Mask, _: int) -> Frames:
    """Fill a clip by a family, or by a baseline, which learnt nothing."""
    return fill_whole(frames, mask, BASELINES[name].make() if name in BASELINES else get(name)).frames


def drawn(number: int, frames: int, side: int) -> tuple[Frames, Mask]:
    """Draw a clip and its hole."""
    rng = np.random.default_rng([SEED, number])
    return make_clip(rng, frames, side, side), TASKS[HOLES[number % len(HOLES)]](rng, frames, side, side)


def psnr(made: Frames, truth: Frames, mask: Mask) -> float:
    """In dB over what was hidden; not a number where nothing was."""
    if not mask.any():
        return float("nan")
    return float(10 * np.log10(255**2 / max(float(np.square(made[mask].astype(np.float64) - truth[mask]).mean()), 1e-2)))


def against(differences: NDArray[np.float64]) -> str:
    """A mean of paired differences and half of its 95 % interval."""
    found = differences[~np.isnan(differences)]
    if not found.any():
        return ""
    half = float(stats.t.ppf(0.975, len(found) - 1)) * float(found.std(ddof=1)) / len(found) ** 0.5
    return f"{found.mean():+.2f} ± {half:.2f}"


if __name__ == "__main__":
    main()
