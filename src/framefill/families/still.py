"""Filling one picture without a network."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from framefill.motion.completion import harmonic


class StillFill(Protocol):
    """What fills one picture; `context` is how many pixels around a hole it wants to see, `memory` how many bytes it takes."""

    @property
    def context(self) -> int:
        """Pixels around a hole."""
        ...

    @property
    def memory(self) -> int:
        """Bytes, beside those of the picture."""
        ...

    def __call__(self, picture: NDArray[np.uint8], hole: NDArray[np.bool_], /) -> NDArray[np.uint8]:
        """Fill a hole (bool H W) of a picture (uint8 H W 3)."""
        ...


class Smooth:
    """The smooth fill as what fills single pictures."""

    context = 16
    memory = 0

    def __call__(self, picture: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Fill a hole (bool H W) of a picture (uint8 H W 3)."""
        return smooth(picture, hole)


def smooth(picture: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Fill a hole as smoothly as its rim lets it (the Laplace equation); `picture` uint8 H W 3, `hole` bool H W.

    A picture without any known pixel comes back mid-grey.
    """
    if hole.all():
        return np.full_like(picture, 127)
    return np.rint(np.clip(harmonic(picture.astype(np.float32), hole), 0, 255)).astype(np.uint8)
