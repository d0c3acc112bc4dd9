"""Filling one picture without a network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from framefill.motion.completion import pull_push

StillFill = Callable[[NDArray[np.uint8], NDArray[np.bool_]], NDArray[np.uint8]]  # picture H W 3, hole H W -> picture H W 3


def smooth(picture: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Fill a hole smoothly from ever wider surroundings (pull-push), which meets the rim; `picture` uint8 H W 3, `hole` bool H W.

    A picture without any known pixel comes back mid-grey.
    """
    if hole.all():
        return np.full_like(picture, 127)
    return np.rint(np.clip(pull_push(picture.astype(np.float32), ~hole), 0, 255)).astype(np.uint8)
