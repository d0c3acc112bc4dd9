"""Procedural clips as files, with or without their truth, and a manifest of them: for trying out, for tests and for other programs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from framefill.data.crop import pair
from framefill.data.footage import Footage
from framefill.data.manifest import Clip, Split, write_manifest
from framefill.data.progress import Progress, Step, silent
from framefill.data.shots import measure, shots_of, spans_of
from framefill.errors import UsageError
from framefill.media.hashes import sha256_of
from framefill.media.synthetic import Scene, make_scene
from framefill.media.video import Frame, VideoMeta
from framefill.media.writer import VideoWriter

FPS = Fraction(24)
LICENCE = "CC0-1.0"  # nobody's work


def make_clips(
    output: Path,
    count: int,
    frames: int,
    size: int | tuple[int, int],
    seed: int = 0,
    *,
    val: int = 0,
    truth: bool = False,
    progress: Progress = silent,
) -> Path:
    """Write `count` procedural clips to `output`/clips/00000.mkv, ... (lossless) and return their manifest, `output`/manifest.jsonl.

    Clip i is drawn from (seed, i) alone; clips that are there already are kept, so that a stopped run goes on. The last `val` clips are for
    validation. truth: `output`/truth/00000.npz with flow, depth, disparity, objects and other_eye as in `media.synthetic.Scene`.
    Raises UsageError for numbers out of range.
    """
    if count < 1 or frames < 1 or not 0 <= val < count:
        raise UsageError(f"count {count}, frames {frames}, val {val}: expected numbers above 0, and val below count")
    height, width = pair(size)
    clips = []
    for number in range(count):
        path = output / "clips" / f"{number:05}.mkv"
        known = output / "truth" / f"{number:05}.npz"
        if not path.exists() or (truth and not known.exists()):
            scene = make_scene(np.random.default_rng([seed, number]), frames, height, width)
            if truth:
                _write_truth(known, scene)
            _write_video(path, scene)
        clips.append(_described(path, "val" if number >= count - val else "train"))
        progress(Step(number + 1, count))
    manifest = output / "manifest.jsonl"
    write_manifest(manifest, clips)
    return manifest


def _write_video(path: Path, scene: Scene) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width, _ = scene.frames.shape
    meta = VideoMeta(width, height, 1 / FPS, FPS, count)
    with VideoWriter(path, meta, lossless=True) as writer:
        for index, rgb in enumerate(scene.frames):
            writer.write(Frame(index, rgb, index, 1), rgb)


def _write_truth(path: Path, scene: Scene) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez_compressed(
            file, flow=scene.flow, depth=scene.depth, disparity=scene.disparity, objects=scene.objects, other_eye=scene.other_eye
        )
    part.replace(path)


def _described(path: Path, split: Split) -> Clip:
    """The manifest's line of a clip, as a scan would give it."""
    footage = Footage(path)
    steps = measure(footage.small())
    (shot,) = shots_of(steps, spans_of(steps))
    fps, width, height = float(footage.meta.fps or FPS), footage.meta.width, footage.meta.height
    return Clip(path, 0, len(footage), fps, width, height, split, LICENCE, sha256_of(path), shot.likeness)
