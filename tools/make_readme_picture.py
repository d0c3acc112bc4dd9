"""Make the README's picture, before / mask / after, by calling the program on the sample with the people on the court.

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
from framefill.samples import SCENES, sample

Picture = NDArray[np.uint8]

FRAME = 20  # the one shown: the man stands between the lamp post and the camera on its tripod
LEFT, TOP, WIDTH, HEIGHT = 288, 180, 480, 360  # the part shown, pixel for pixel
GAP = 8


def main() -> None:
    """Fill the sample without loss, put one frame before, masked and after side by side, save the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    clip, mask = (sample(name) for name in SCENES["vtest"])
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "filled.mkv"
        command = ["inpaint", str(clip), "-m", str(mask), "-o", str(output), "--lossless"]
        subprocess.run([sys.executable, "-m", "framefill", *command], check=True)
        before, hole, after = (frame_of(path, FRAME)[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH] for path in (clip, mask, output))
    pictures = [before, paint(before, hole[..., 0] > 127), after]
    Image.fromarray(side_by_side(pictures)).save(args.picture, quality=88, optimize=True)
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
