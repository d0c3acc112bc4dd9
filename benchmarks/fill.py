"""Print framefill's figures, measured on this machine: quality, speed, memory, start.

    python benchmarks/fill.py                                     everything, on the packaged samples
    python benchmarks/fill.py --only quality --clip FOLDER ...    more clips: a video, or a folder of frames (first 80 frames)

Every clip is its own truth: a box of 90 x 80 pixels hides a part of it, the fill is compared with what was there. Clips for speed
and memory are the sample `city`, scaled, and played forwards and backwards as long as needed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cases import BOX, BOX_TOP, Frames, Mask, box_at, fill, read, score, there_and_back, write_video

import framefill
from framefill.evaluation.protocols.completion import fixed_box
from framefill.families.base import PROPAGATED
from framefill.samples import sample

SMALL, HD = (432, 240), (1280, 720)
HD_BOX, HD_LARGE_BOX = (192, 144), (640, 432)  # 3 % and 30 % of 1280x720
COMMAND = (sys.executable, "-m", "framefill")


class Run(NamedTuple):
    """One finished command: wall time in seconds, what it printed."""

    seconds: float
    stdout: str

    @property
    def memory(self) -> float:
        """Its highest resident memory in MB, by its own account: the system's carries over what this process held when it forked."""
        return float(json.loads(self.stdout)["peak_memory_mb"])


def main() -> None:
    """Measure what was asked for and print one Markdown table each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["quality", "speed", "memory", "start"])
    parser.add_argument("--clip", type=Path, action="append", default=[], metavar="PATH", help="one more clip for quality; repeatable")
    parser.add_argument("--model", action="append", help="which models, repeatable (default: telea, median, propagate, auto)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each timing; the median is printed (default 3)")
    args = parser.parse_args()

    versions = ", ".join(f"{name} {version(name)}" for name in ("av", "opencv-python-headless", "numpy"))
    machine = f"{processor()}, {cores()} cores, {platform.system()}"
    print(f"framefill {framefill.__version__} on {machine}; Python {platform.python_version()}, {versions}")
    with tempfile.TemporaryDirectory(prefix="framefill-bench-") as folder:
        parts: dict[str, Callable[[], None]] = {
            "start": lambda: start(args.repeat),
            "quality": lambda: quality(args.clip, args.model or ["telea", "median", "propagate", "auto"]),
            "speed": lambda: speed(Path(folder), args.repeat),
            "memory": lambda: memory(Path(folder)),
        }
        for name, measure in parts.items():
            if args.only in (None, name):
                print(f"\n## {name}\n", flush=True)
                measure()


def quality(clips: list[Path], models: list[str]) -> None:
    """PSNR of each model on each clip, under a still and a moving box, and how much of the hole no frame shows; the means over `clips`."""
    print("The first 80 frames; a box of 90x80 at y = 80, x = 150 or 60 + 272 (0.5 + 0.5 sin(t / 12)), of 432x240, scaled with the frame.")
    print("PSNR is the mean over the frames.\n")
    given = [(f"{clip.parent.name}/{clip.name}", clip, moving) for clip in clips for moving in (False, True)]
    carried = [(clip.name, clip, True) for clip in (sample("city.mp4"), sample("vtest.mp4"))]
    row("clip", "box", "model", "hole dB", "frame dB", "no frame shows")
    row(*["---"] * 6)
    totals: dict[str, list[tuple[float, float]]] = {}
    for name, clip, moving in [*given, *carried]:
        truth = read(clip)
        height, width = truth.shape[1:3]
        mask = fixed_box(len(truth), height, width, moving)
        for model in models:
            filled = fill(model, truth, mask)
            hole, frame = score(truth, filled.frames, mask)
            if clip in clips:
                totals.setdefault(model, []).append((hole, frame))
            unseen = float((filled.provenance[mask] != PROPAGATED).mean())
            row(name, "moving" if moving else "still", model, f"{hole:.2f}", f"{frame:.2f}", f"{unseen:.1%}")
    for model, pairs in totals.items():
        hole, frame = np.mean(pairs, axis=0)
        row(f"mean of {len(pairs)}", "", model, f"{hole:.2f}", f"{frame:.2f}", "")


def speed(folder: Path, repeat: int) -> None:
    """Frames a second of the fill alone and of the whole command, at 432x240 and 1280x720."""
    row("clip", "what", "seconds", "frames/s", "peak MB")
    row(*["---"] * 5)
    for size, box, count in ((SMALL, BOX, 80), (HD, HD_BOX, 60)):
        clip, mask_path = make_clip(folder, count, size, box)
        frames, mask = read(clip, count), read(mask_path, count)[..., 0] > 127
        label = f"{size[0]}x{size[1]}, {count} frames, hole {mask.mean():.1%}"
        seconds = statistics.median(timed_fill(frames, mask) for _ in range(repeat))
        row(label, "fill alone", f"{seconds:.2f}", f"{count / seconds:.1f}", "")
        runs = [inpaint(clip, mask_path, folder / f"out-{size[0]}-{n}.mp4") for n in range(repeat)]
        seconds = statistics.median(one.seconds for one in runs)
        row(label, "whole command", f"{seconds:.2f}", f"{count / seconds:.1f}", f"{max(one.memory for one in runs):.0f}")


def memory(folder: Path) -> None:
    """Highest resident memory of the whole command: on large pictures, and on a short and a ten times longer clip."""
    row("clip", "hole", "peak MB", "frames/s", "known pixels changed by at most")
    row(*["---"] * 5)
    peaks = []
    for size, box, count in ((HD, HD_BOX, 120), (HD, HD_LARGE_BOX, 120), (SMALL, BOX, 200), (SMALL, BOX, 2000)):
        clip, mask = make_clip(folder, count, size, box)
        one = inpaint(clip, mask, folder / f"memory-{size[0]}-{box[0]}-{count}.mp4")
        peaks.append(one.memory)
        hole = box[0] * box[1] / (size[0] * size[1])
        told = json.loads(one.stdout)
        label = f"{size[0]}x{size[1]}, {count} frames"
        row(label, f"{hole:.1%}", f"{one.memory:.0f}", f"{count / one.seconds:.1f}", str(told["outside_max_diff"]))
    row("ratio of the last two", "", f"{peaks[-1] / peaks[-2]:.3f}", "", "")


def start(repeat: int) -> None:
    """How long `import framefill` and `framefill --help` take, each in a fresh interpreter."""
    row("what", "seconds")
    row("---", "---")
    code = "import time; begin = time.perf_counter(); import framefill; print(time.perf_counter() - begin)"
    imports = [float(run([sys.executable, "-c", code]).stdout) for _ in range(repeat + 2)]
    row("`import framefill`", f"{statistics.median(imports):.3f}")
    helps = [run([*COMMAND, "--help"]).seconds for _ in range(repeat + 2)]
    row("`framefill --help`, whole process", f"{statistics.median(helps):.3f}")


def make_clip(folder: Path, count: int, size: tuple[int, int], box: tuple[int, int]) -> tuple[Path, Path]:
    """Write a clip of `count` frames and the mask of a moving box; give both paths."""
    clip, mask = folder / f"clip-{size[0]}-{count}.mp4", folder / f"mask-{size[0]}-{box[0]}-{count}.mp4"
    source = read(sample("city.mp4"), 96)
    write_video(clip, there_and_back(source, count, size), size)
    top = BOX_TOP * size[1] // SMALL[1]
    write_video(mask, (np.uint8(255) * box_at(t, size, box=box, top=top) for t in range(count)), size, lossless=True)
    return clip, mask


def inpaint(clip: Path, mask: Path, output: Path) -> Run:
    """Run the whole command as a user does."""
    return run([*COMMAND, "inpaint", str(clip), "-m", str(mask), "-o", str(output), "--json"])


def run(command: list[str]) -> Run:
    """Run a command to its end."""
    begin = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if ended.returncode:
        sys.exit(f"{' '.join(command)}\nended with {ended.returncode}: {ended.stderr}")
    return Run(seconds, ended.stdout)


def timed_fill(frames: Frames, mask: Mask) -> float:
    """Seconds that the default filler takes in memory."""
    begin = time.perf_counter()
    fill("auto", frames, mask)
    return time.perf_counter() - begin


def row(*cells: str) -> None:
    """One row of a Markdown table, at once, so that a long run shows where it is."""
    print("| " + " | ".join(cells) + " |", flush=True)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    listing = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in listing.read_text().splitlines() if line.startswith("model name")]
        if listing.is_file()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
