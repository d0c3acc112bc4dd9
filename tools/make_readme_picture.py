"""Make the README's picture, before / mask / after, by calling the program on the two samples.

python tools/make_readme_picture.py docs/before-mask-after.jpg
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

from framefill.media.reader import open_video
from framefill.samples import SampleName, sample

Picture = NDArray[np.uint8]

# clip, mask, frame shown, left and top of the part shown
SHOWN: tuple[tuple[SampleName, SampleName, int, int, int], ...] = (
    ("vtest.mp4", "vtest-mask.mp4", 30, 180, 130),
    ("city.mp4", "city-mask.mp4", 48, 90, 0),
)
PART = (480, 360)  # width, height of the part shown, pixel for pixel
GAP = 8


def main() -> None:
    """Fill both samples without loss, put one frame of each side by side, save the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for clip, mask, index, left, top in SHOWN:
            output = Path(folder) / clip.replace(".mp4", ".mkv")
            command = ["inpaint", str(sample(clip)), "-m", str(sample(mask)), "-o", str(output), "--lossless"]
            subprocess.run([sys.executable, "-m", "framefill", *command], check=True)
            before, hole, after = (
                frame_of(path, index)[top : top + PART[1], left : left + PART[0]] for path in (sample(clip), sample(mask), output)
            )
            rows.append(side_by_side([before, paint(before, hole[..., 0] > 127), after]))
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    Image.fromarray(np.vstack([rows[0], gap, rows[1]])).save(args.picture, quality=88, optimize=True)
    print(f"{args.picture}: {args.picture.stat().st_size / 1000:.0f} kB")


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
