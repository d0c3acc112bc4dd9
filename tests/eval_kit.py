"""Small clips for the tests of the evaluation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def moving_clip(frames: int = 6, height: int = 40, width: int = 48, seed: int = 0) -> np.ndarray:
    """A picture of noise, smoothed, that slides by a pixel a frame."""
    rng = np.random.default_rng(seed)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (height, width + frames, 3), np.uint8), (0, 0), 2)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
    return np.stack([wide[:, t : t + width] for t in range(frames)])


def save_frames(folder: Path, clip: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for index, frame in enumerate(clip):
        cv2.imwrite(str(folder / f"{index:03}.png"), frame[..., ::-1] if frame.ndim == 3 else frame)
    return folder
