"""Print how fast the metrics are on this machine, and how near and how much faster than scikit-image's SSIM.

    python benchmarks/metrics.py                    on a clip of blobs and noise, 432x240

OpenCV runs on one thread, and the processor's time is counted, not the clock's, so that other programs disturb little. Both sides
of a ratio are measured in the same run, in turn, `--repeat` times; the medians are printed.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from framefill.evaluation.metrics.flow import motion_of
from framefill.evaluation.metrics.frechet import frechet_distance
from framefill.evaluation.metrics.pixels import psnr
from framefill.evaluation.metrics.regions import region
from framefill.evaluation.metrics.structure import ms_ssim, ssim
from framefill.evaluation.metrics.temporal import flicker, warping_error

Clip = NDArray[np.uint8]


def main() -> None:
    """Measure everything and print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "opencv-python-headless", "scikit-image", "scipy"))
    print(f"{platform.machine()}, processor time, Python {platform.python_version()}, {versions}")
    truth, result, mask = clip(args.frames)
    against_scikit_image(truth, result, args.repeat)
    alone(truth, result, mask, args.repeat)
    frechet(args.repeat)


def clip(frames: int, height: int = 240, width: int = 432) -> tuple[Clip, Clip, NDArray[np.bool_]]:
    """A panning clip of blobs, the same with noise, and a box of 90 x 80 pixels."""
    generator = np.random.default_rng(0)
    scene = cv2.GaussianBlur(generator.normal(128, 900, (height, width + frames, 3)), (0, 0), 6).clip(0, 255)
    truth = np.stack([scene[:, t : t + width] for t in range(frames)]).astype(np.uint8)
    result = (truth + generator.normal(0, 12, truth.shape)).clip(0, 255).astype(np.uint8)
    mask = np.zeros(truth.shape[:3], bool)
    mask[:, 80:160, 150:240] = True
    return truth, result, mask


def against_scikit_image(truth: Clip, result: Clip, repeat: int) -> None:
    """SSIM of the same frames here and by scikit-image: the greatest difference and the ratio of the speeds."""
    print("\n| SSIM, 432x240 colour | framefill, frames/s | scikit-image, frames/s | ratio | greatest difference |")
    print("| --- | --- | --- | --- | --- |")
    for name, size, gaussian in (("window 7", 7, False), ("window 65", 65, False), ("Gaussian, sigma 1.5", 11, True)):

        def mine(size: int = size, gaussian: bool = gaussian) -> NDArray[np.float64]:
            return ssim(result, truth, win_size=size, gaussian=gaussian)

        def theirs(size: int = size, gaussian: bool = gaussian) -> NDArray[np.float64]:
            settings = {"channel_axis": -1, "data_range": 255, "win_size": size, "gaussian_weights": gaussian}
            return np.array([structural_similarity(one, other, **settings) for one, other in zip(result, truth, strict=True)])

        difference = np.abs(mine() - theirs()).max()
        times = [(seconds(mine), seconds(theirs)) for _ in range(repeat)]
        here, there = (len(truth) / statistics.median(column) for column in zip(*times, strict=True))
        print(f"| {name} | {here:.0f} | {there:.0f} | {here / there:.1f} | {difference:.1e} |", flush=True)


def alone(truth: Clip, result: Clip, mask: NDArray[np.bool_], repeat: int) -> None:
    """Frames a second of the other metrics."""
    motion = motion_of(truth)
    jobs: dict[str, Callable[[], object]] = {
        "PSNR": lambda: psnr(result, truth),
        "PSNR, hole": lambda: psnr(result, truth, mask),
        "SSIM, window 7, hole": lambda: ssim(result, truth, mask),
        "SSIM, window 7, outside": lambda: ssim(result, truth, ~mask),
        "MS-SSIM": lambda: ms_ssim(result, truth),
        "rim of 8 pixels, a still mask": lambda: region(mask, "rim"),
        "motion of the truth (DIS both ways, occlusion)": lambda: motion_of(truth),
        "warping error along it": lambda: warping_error(result, motion),
        "flicker beyond the truth's": lambda: flicker(result, truth, mask),
    }
    print("\n| metric, 432x240 colour | frames/s |\n| --- | --- |")
    for name, job in jobs.items():
        job()
        print(f"| {name} | {len(truth) / statistics.median(seconds(job) for _ in range(repeat)):.0f} |", flush=True)


def frechet(repeat: int) -> None:
    """Seconds of a Frechet distance at the sizes of FVD and VFID."""
    print("\n| Frechet distance | seconds |\n| --- | --- |")
    generator = np.random.default_rng(0)
    for name, clips, dimensions in (("FVD, 2048 clips, 400 dimensions", 2048, 400), ("VFID, 50 clips, 1024 dimensions", 50, 1024)):
        one, other = generator.normal(size=(2, clips, dimensions))
        taken = statistics.median(seconds(lambda one=one, other=other: frechet_distance(one, other)) for _ in range(repeat))  # type: ignore[misc]
        print(f"| {name} | {taken:.4f} |", flush=True)


def seconds(job: Callable[[], object]) -> float:
    """Processor time of one call."""
    begin = time.process_time()
    job()
    return time.process_time() - begin


if __name__ == "__main__":
    main()
