"""Print what another eye's view costs, part by part, measured on this machine.

    python benchmarks/stereo.py                 1280x720 and 640x360
    python benchmarks/stereo.py --size 1920x1080 --runs 20

One core: OpenCV is held to one thread. Processor time of the process, not the clock on the wall, and of several runs the quickest, so that
other work on the machine hardly counts. The picture is a procedural scene with true depth, divergence 5, convergence 0.5.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.media.synthetic import make_scene
from framefill.stereo.backward import backward
from framefill.stereo.forward import forward
from framefill.stereo.projection import projected_hole

SEED = 3
DIVERGENCE, CONVERGENCE = 5.0, 0.5
Work = Callable[[], object]


def main() -> None:
    """Measure at each size and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", default=["1280x720", "640x360"], metavar="WIDTHxHEIGHT")
    parser.add_argument("--runs", type=int, default=12)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    columns = {size: measured(works(*(int(side) for side in size.split("x"))), args.runs) for size in args.size}
    print("| milliseconds a frame, one core | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name in next(iter(columns.values())):
        print(f"| {name} | " + " | ".join(f"{column[name]:.1f}" for column in columns.values()) + " |")
    for size, column in columns.items():
        print(f"\n{size}: backward takes {column['backward, right eye'] / column['forward, right eye']:.2f} of forward's time, ", end="")
        print(f"{column['backward, right eye'] / column['reading and writing the picture alone']:.1f} times what reading and writing takes")


def works(width: int, height: int) -> dict[str, Work]:
    """What is measured, by name, on one scene of this size."""
    scene = make_scene(np.random.default_rng(SEED), 1, height, width, 0)
    picture, disparity = scene.frames[0], scene.disparity[0]
    depth = ((disparity - disparity.min()) / np.ptp(disparity)).astype(np.float32)
    across = np.tile(np.arange(width, dtype=np.float32) + np.float32(0.5), (height, 1))
    down = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    return {
        "reading and writing the picture alone": lambda: plain(picture, across, down),
        "backward, right eye": lambda: backward(picture, depth, DIVERGENCE, CONVERGENCE, "right"),
        "backward, left eye": lambda: backward(picture, depth, DIVERGENCE, CONVERGENCE, "left"),
        "forward, right eye": lambda: forward(picture, depth, DIVERGENCE, CONVERGENCE, "right"),
        "hole by projection, backward": lambda: projected_hole(depth, DIVERGENCE, CONVERGENCE, "backward"),
        "hole by projection, forward": lambda: projected_hole(depth, DIVERGENCE, CONVERGENCE, "forward"),
    }


def plain(picture: NDArray[np.uint8], across: NDArray[np.float32], down: NDArray[np.float32]) -> object:
    """The least that any view costs: each pixel read between two others and written."""
    return cv2.remap(picture, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def measured(named: dict[str, Work], runs: int) -> dict[str, float]:
    """Milliseconds of processor time of the quickest of `runs` turns, in which each has one run."""
    best = dict.fromkeys(named, float("inf"))
    for _ in range(runs):
        for name, work in named.items():
            start = time.process_time()
            work()
            best[name] = min(best[name], (time.process_time() - start) * 1000)
    return best


if __name__ == "__main__":
    main()
