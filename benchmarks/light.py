"""Print what a frame costs with `light`, with the published net as framefill runs it, and with that net as its own program runs it.

    python benchmarks/light.py                          1280x720 with the holes of a right eye, and 640x360 with a box of 7 %
    python benchmarks/light.py --case box --model DIR   one of them, with weights of your own

All in one run, in processor time; speed does not depend on the weights, and those of the published nets are random ones. `light` is run as
`framefill inpaint --model light` runs it, but in one piece, without files. The plain side is `reference_light`: padded by up to 64 pixels,
every frame computed twice, the whole picture, float32. Its first and last windows are left out: what counts is a window of twelve, by the
six frames that it gives.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from cases import BOX_TOP, box_at, read, there_and_back
from fill import processor, row
from numpy.typing import NDArray
from reference_light import CONTEXT, FRAMES, PlainLight, window_made
from torch.utils.flop_counter import FlopCounterMode

from framefill.families.light_compat import LightCompatPipeline
from framefill.families.light_filler import load_filler
from framefill.families.trained import SHIPPED, Sampling
from framefill.families.whole import fill_whole
from framefill.media.tensors import mask_to_tensor, to_tensor
from framefill.nets.light_compat import LightCompat
from framefill.samples import sample
from framefill.stereo.backward import backward

Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W
LENGTH = 20  # frames that `light` is timed on: two windows of twelve
DIVERGENCE, CONVERGENCE = 2.5, 0.5
HELD = 2048  # rows and columns of the matrices whose product is taken for the machine's peak


def main() -> None:
    """Measure both cases and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--model", type=Path, default=SHIPPED / "light", help="folder of a light pipeline")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2, help="the least of so many counts")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    peak = least(matrices_multiplied, args.rounds + 1)
    print(f"{processor()}, {args.threads} thread(s), torch {torch.__version__}; matrices at {2e-9 * HELD**3 / peak:.0f} GFLOP/s\n")
    for name in [args.case] if args.case else CASES:
        measure(name, *CASES[name](), args.model, args.rounds, 2 * HELD**3 / peak)


def measure(name: str, frames: Frames, mask: Mask, model: Path, rounds: int, peak: float) -> None:
    """Time the three on a clip and print their table."""
    height, width = mask.shape[1:]
    print(f"{name}: {width}x{height}, holes of {mask.mean():.1%}\n")
    row("", "s a frame, processor", "of the plain side", "GFLOP a frame", "share of the peak")
    row(*["---"] * 5)
    torch.manual_seed(0)
    compat = LightCompatPipeline(LightCompat().eval())
    plain = PlainLight().eval()
    plain.load_state_dict(compat.net.state_dict())
    source, hole = to_tensor(frames[:FRAMES])[0] / 2 + 0.5, mask_to_tensor(mask[:FRAMES])[0]
    light = load_filler(model, Sampling())
    kept = slice(CONTEXT, FRAMES - CONTEXT)
    sides: list[tuple[str, Callable[[], object], int]] = [
        ("the published net, plainly", lambda: window_made(plain, source, hole), kept.stop - kept.start),
        ("the published net, here", lambda: compat.fill(frames[:FRAMES], mask[:FRAMES], kept), kept.stop - kept.start),
        ("light", lambda: fill_whole(frames[:LENGTH], mask[:LENGTH], light), LENGTH),
    ]
    first = 0.0
    for side, work, count in sides:
        with FlopCounterMode(display=False) as counter:  # costs a few microseconds an operation
            once = least(work, 1)
        seconds = min(once, least(work, rounds - 1)) / count
        operations = counter.get_total_flops() / count
        first = first or seconds
        row(side, f"{seconds:.3f}", f"1/{first / seconds:.1f}", f"{operations / 1e9:.1f}", f"{operations / seconds / peak:.0%}")
    print()


def least(work: Callable[[], object], rounds: int) -> float:
    """The least processor time of several goes, in seconds."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        with torch.no_grad():
            work()
        times.append(time.process_time() - start)
    return min(times, default=math.inf)


def matrices_multiplied() -> None:
    """One product of two square matrices, the fastest thing that a processor does."""
    one = torch.full((HELD, HELD), 0.5)
    torch.mm(one, one)


def stereo() -> tuple[Frames, Mask]:
    """1280x720: a scene that something near walks through, as the right eye sees it."""
    pictures = list(there_and_back(read(sample("city.mp4"), 30), LENGTH, (1280, 720)))
    ramp = np.linspace(0.1, 0.5, 720, dtype=np.float32)[:, None].repeat(1280, 1)
    frames, holes = [], []
    for index, picture in enumerate(pictures):
        depth = ramp.copy()
        for centre, size in (((420 + 6 * index, 420), (90, 260)), ((930 - 3 * index, 380), (60, 170))):
            cv2.ellipse(depth, centre, size, 0, 0, 360, 0.9, -1)
        view = backward(picture, depth, DIVERGENCE, CONVERGENCE, "right")
        frames.append(view.picture)
        holes.append(view.hole)
    return np.stack(frames), np.stack(holes)


def box() -> tuple[Frames, Mask]:
    """640x360 with a box that moves."""
    frames = np.stack(list(there_and_back(read(sample("city.mp4"), 30), LENGTH, (640, 360))))
    return frames, np.stack([box_at(index, (640, 360), (140, 115), BOX_TOP) for index in range(LENGTH)])


CASES: dict[str, Callable[[], tuple[Frames, Mask]]] = {"stereo": stereo, "box": box}

if __name__ == "__main__":
    main()
