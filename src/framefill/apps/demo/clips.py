"""The clips of the demonstration: a disc of any hue that goes round the picture's middle, either way. Nobody's footage.

They are that simple so that a net can learn them in two minutes: from two frames on, all that follows is known in principle; from one
frame the hue and the ring are, but not which way the disc goes. Motion in a straight line misses it, so that there is something to learn.
"""

from __future__ import annotations

import colorsys
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.random import Generator

from framefill.data.manifest import Clip, Split, write_manifest
from framefill.data.progress import Progress, Step
from framefill.media.hashes import sha256_of
from framefill.media.video import Frame, Frames, VideoMeta
from framefill.media.writer import VideoWriter

FPS = Fraction(8)
LICENCE = "CC0-1.0"
GROUND = np.array((24, 32, 56))
SIZE = 0.15  # the disc's radius, of the side
REACH = 0.24, 0.32  # the ring's, of the side
SPEED = 0.2, 0.5  # radians a frame, either way round


def draw_clip(rng: Generator, T: int, side: int) -> Frames:
    """Draw uint8 T side side 3: a bright disc before a dark ground, 0.2 to 0.5 radians a frame on a ring about the picture's middle."""
    bright = 255 * np.array(colorsys.hsv_to_rgb(rng.random(), 0.75, 0.95))
    reach, speed = rng.uniform(*REACH) * side, rng.uniform(*SPEED) * rng.choice((-1, 1))
    angle = rng.uniform(0, 2 * np.pi) + speed * np.arange(T)
    column, row = side / 2 + reach * np.cos(angle), side / 2 + reach * np.sin(angle)
    y, x = np.mgrid[0:side, 0:side] + 0.5
    away = np.hypot(x - column[:, None, None], y - row[:, None, None])  # t h w
    cover = np.clip(SIZE * side - away + 0.5, 0, 1)[..., None]  # its rim is a pixel wide, so that every fraction of a pixel shows
    return np.asarray(np.rint(GROUND + cover * (bright - GROUND)), np.uint8)


def make_clips(folder: Path, counts: dict[Split, int], frames: int, side: int, progress: Progress) -> Path:
    """Write the clips of each split to `folder`/SPLIT-000.mkv, ... (lossless) and return their manifest, `folder`/manifest.jsonl.

    Each is drawn from its split and number alone; those that are there already stay, so that a stopped run goes on.
    Raises UnwritableMedia, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clips: list[Clip] = []
    for place, (split, count) in enumerate(counts.items()):
        for number in range(count):
            path = folder / f"{split}-{number:03}.mkv"
            if not path.exists():
                _write(path, draw_clip(np.random.default_rng([place, number]), frames, side))
            clips.append(Clip(path, 0, frames, float(FPS), side, side, split, LICENCE, sha256_of(path)))
            progress(Step(len(clips), sum(counts.values())))
    manifest = folder / "manifest.jsonl"
    write_manifest(manifest, clips)
    return manifest


def _write(path: Path, frames: Frames) -> None:
    count, height, width, _ = frames.shape
    with VideoWriter(path, VideoMeta(width, height, 1 / FPS, FPS, count), lossless=True) as writer:
        for index, rgb in enumerate(frames):
            writer.write(Frame(index, rgb, index, 1), rgb)
