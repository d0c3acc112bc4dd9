"""Make the README's pictures from the sample with the people on the court.

    python tools/make_readme_picture.py docs/before-mask-after.jpg docs/what-no-frame-shows.jpg

The first, before / mask / after, by calling the program. The second, of a place that no frame shows: before / mask / filled smoothly /
filled by the net that comes along.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import framefill
from framefill.families.propagate import Propagate
from framefill.families.still import Smooth
from framefill.families.whole import fill_whole
from framefill.media.reader import open_video
from framefill.samples import SCENES, sample

Picture = NDArray[np.uint8]

FRAME = 20  # the one shown: the man stands between the lamp post and the camera on its tripod
LEFT, TOP, WIDTH, HEIGHT = 288, 180, 480, 360  # the part shown, pixel for pixel
PATCH = 200, 330, 72, 42  # the ellipse that no frame shows: its middle and its half axes, x before y
GAP = 8


def main() -> None:
    """Save both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("hidden", type=Path)
    args = parser.parse_args()
    save(args.picture, removed())
    save(args.hidden, made_up())


def removed() -> list[Picture]:
    """Fill the sample without loss by the program: one frame before, masked and after."""
    clip, mask = (sample(name) for name in SCENES["vtest"])
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "filled.mkv"
        command = ["inpaint", str(clip), "-m", str(mask), "-o", str(output), "--lossless"]
        subprocess.run([sys.executable, "-m", "framefill", *command], check=True)
        before, hole, after = (frame_of(path, FRAME)[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH] for path in (clip, mask, output))
    return [before, paint(before, hole[..., 0] > 127), after]


def made_up() -> list[Picture]:
    """Hide a patch of the lawn in every frame, and make it up: before, masked, without and with the net."""
    frames = np.stack([frame_of(sample(SCENES["vtest"][0]), number) for number in range(4)])
    down, across = np.ogrid[: frames.shape[1], : frames.shape[2]]
    hole = ((across - PATCH[0]) / PATCH[2]) ** 2 + ((down - PATCH[1]) / PATCH[3]) ** 2 < 1
    mask = np.broadcast_to(hole, frames.shape[:3])
    smooth, made = fill_whole(frames, mask, Propagate("auto", Smooth())).frames, framefill.inpaint(frames, mask).frames
    rows, columns = (slice(middle - reach, middle + reach) for middle, reach in ((PATCH[1], 90), (PATCH[0], 120)))
    return [picture[rows, columns] for picture in (frames[0], paint(frames[0], hole), smooth[0], made[0])]


def save(path: Path, pictures: list[Picture]) -> None:
    """Save pictures side by side."""
    Image.fromarray(side_by_side(pictures)).save(path, quality=88, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def frame_of(path: Path, index: int) -> Picture:
    """One frame of a video, uint8 H W 3."""
    with open_video(path) as reader:
        return next(islice(reader, index, None)).rgb


def paint(picture: Picture, hole: NDArray[np.bool_]) -> Picture:
    """The picture with its hole in magenta."""
    return np.where(hole[..., None], np.array([235, 0, 200], np.uint8), picture)


def side_by_side(pictures: list[Picture]) -> Picture:
    """Pictures of one size in a row, white gaps between them."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    return np.hstack([pictures[0], *(part for picture in pictures[1:] for part in (gap, picture))])


if __name__ == "__main__":
    main()
