"""Small records and small videos to make records of."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from data_kit import write_frames
from numpy.typing import NDArray

from framefill.data.records import About, write_record
from framefill.jobs.records import RecordSettings
from framefill.media.synthetic import Scene, make_scene

SEED = 0  # of a procedural scene with edges in depth
SHAPE = (40, 96, 128)  # T H W


def truth(seed: int = SEED) -> Scene:
    return make_scene(np.random.default_rng(seed), *SHAPE)


def procedural(path: Path, seed: int = SEED) -> Path:
    return write_frames(path, truth(seed).frames)


def settings(**changes: object) -> RecordSettings:
    """What is quick: crops of 64 pixels of 8 frames, masks by tasks, no depth."""
    usual: dict[str, object] = {
        "prefix": "p", "depth": "none", "masks": {"object": 2.0, "text": 1.0, "stereo": 1.0}, "size": 64, "short_sides": (80, 96),
        "seq": 8, "skip_interval": 4, "workers": 1,
    }  # fmt: skip
    return RecordSettings(**{**usual, **changes})  # type: ignore[arg-type]


def frames_of(T: int, H: int, W: int, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures that get brighter to the right and from frame to frame, so that any flip shows."""
    ramp = np.linspace(20, 180, W)[None, None, :, None] + 4 * np.arange(T)[:, None, None, None]
    noise = np.random.default_rng(seed).integers(0, 8, (T, H, W, 3))
    return np.broadcast_to(ramp, (T, H, W, 3)).astype(np.uint8) + noise.astype(np.uint8)


def record(folder: Path, name: str = "r", kind: str | None = "stereo", shape: tuple[int, int, int] = (16, 48, 64)) -> Path:
    """Write a record whose hole is 10 rows of 6 columns; without a kind, without a sidecar."""
    T, H, W = shape
    mask = np.zeros(shape, np.bool_)
    mask[:, 20:30, 40:46] = True
    about: About = {"kind": kind or "stereo", "source": {"name": f"{name}.mp4", "licence": "CC0-1.0", "sha256": "0" * 64}}
    write_record(folder / name, folder.parent / ".parts", frames_of(T, H, W), mask, about)
    if kind is None:
        (folder / name / "record.json").unlink()
    return folder / name


def tree(folder: Path) -> dict[str, str]:
    """The hash of every file below a folder, journals and locks left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and ".records" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
