"""Light as what fills the single pictures in which `auto` makes what no frame shows.

Loading torch takes time and memory, and many clips need nothing made: it is loaded when the first hole comes that does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.families.still import smooth
from framefill.families.trained import Sampling

if TYPE_CHECKING:
    from framefill.families.light import LightPipeline

THIN = 2.0  # pixels from the rim up to which a smooth fill is all that there is to make

# Bytes by which a process grows: torch and diffusers 320 MB, the net and a hole of 180x180 pixels 110 MB, one of 1180x620 in tiles 220 MB.
MEMORY = 550_000_000


class LightStill:
    """The pipeline in a folder; pictures are filled one by one, each for itself."""

    context = 64
    memory = MEMORY

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pipeline: LightPipeline | None = None

    def __call__(self, picture: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Fill a hole (bool H W) of a picture (uint8 H W 3). Raises WeightsError when the folder is damaged."""
        if hole.all() or float(cv2.distanceTransform(hole.view(np.uint8), cv2.DIST_L2, 3).max()) <= THIN:
            return smooth(picture, hole)
        from framefill.families.light_filler import fill_regions, read

        if self._pipeline is None:
            self._pipeline = read(self._folder, Sampling())
        filled: NDArray[np.uint8] = fill_regions(self._pipeline, picture[None], hole[None])[0]
        return filled
