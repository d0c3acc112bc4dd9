"""The exact depth of procedural scenes, for making data and for tests: no network has to be right for either."""

from __future__ import annotations

import cv2
import numpy as np

from framefill.errors import UsageError
from framefill.media.synthetic import make_scene
from framefill.stereo.depth import Depth, Frames, check_frames

LEAST = 16  # frames rendered at first; then always twice as many
# Mean difference to the scene's own frames, levels: a lossy codec at its worst stays below, another scene does not.
SAME = 12.0


class ProceduralDepth:
    """The disparity, float32 T H W > 0 in pixels, of the scene that `media.synthetic.make_scene` draws from the seed.

    `seed` alone is the scene's own; with `clip` it is that of clip number `clip` among those that `data.make` writes from `seed`. The
    scene is known by its seed and the frames' size; `infer` looks whether the frames are its, and raises UsageError when they are not.
    """

    is_metric = False  # a disparity: already proportional to 1 / distance

    def __init__(self, seed: int, clip: int | None = None) -> None:
        self._seed = seed if clip is None else [seed, clip]
        self.name = f"synthetic-{seed}" if clip is None else f"synthetic-{seed}-{clip}"
        self._next = 0
        self._frames: Frames = np.zeros((0, 0, 0, 3), np.uint8)
        self._disparity: Depth = np.zeros((0, 0, 0), np.float32)

    def infer(self, frames: Frames) -> Depth:
        """Give the disparity of the next frames, T H W at their size."""
        check_frames(frames)
        first, after = self._next, self._next + len(frames)
        self._draw(after, *frames.shape[1:3])
        away = cv2.norm(frames, self._frames[first:after], cv2.NORM_L1) / frames.size
        if away > SAME:
            size = f"{frames.shape[2]}x{frames.shape[1]}"
            raise UsageError(
                f"frames {first} to {after - 1} are not those of the procedural scene of {self.name} at {size} (they differ by {away:.0f} "
                "levels on average); give synthetic: clips drawn from that seed, at the size they were drawn at"
            )
        self._next = after
        return self._disparity[first:after].copy()

    def reset(self) -> None:
        """Nothing is kept but the number of the next frame, which a cut does not change."""

    def seek(self, index: int) -> None:
        """The next frame is number `index` of the scene."""
        self._next = index

    def _draw(self, count: int, H: int, W: int) -> None:
        """Have the first `count` frames at hand. A scene's first frames do not depend on how many are drawn."""
        if self._frames.shape[1:3] == (H, W) and len(self._frames) >= count:
            return
        T = LEAST
        while count > T:
            T *= 2
        scene = make_scene(np.random.default_rng(self._seed), T, H, W)
        self._frames, self._disparity = scene.frames, scene.disparity
