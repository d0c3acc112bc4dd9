"""A run of frames with holes and everything known of how they move: what propagation looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.motion.flow import FlowMethod, Residual, dis, residuals
from framefill.motion.regions import Region
from framefill.motion.registration import Look, Matrix, Motion, register

RIM = 2  # pixels around a hole that are not trusted as known: compression and soft masks have mixed them with what was hidden
BLOCKED = np.uint8(255)


@dataclass(frozen=True)
class Pair:
    """How one frame moves to the next: the camera both ways, and what moves beside it, both ways."""

    motion: Motion
    back: Matrix
    forward_flow: list[Residual]
    backward_flow: list[Residual]


def widen(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the pixels of a mask (bool H W) and `RIM` more around it as uint8 H W: 255 = not to be looked at."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RIM + 1, 2 * RIM + 1))
    return np.asarray(cv2.dilate(mask.view(np.uint8), kernel), np.uint8) * BLOCKED


def pair_up(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    blocked: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    looks: tuple[Look, Look],
    method: FlowMethod = dis,
) -> Pair:
    """Work out how one frame (uint8 H W 3) moves to the next; `blocked` are their widened holes, `looks` what registration sees."""
    motion = register(*looks)
    back = np.linalg.inv(motion.matrix)
    reverse = Motion(np.eye(3) if motion.still else back / back[2, 2], motion.error, motion.cut)
    holes = blocked[0] > 0, blocked[1] > 0
    if motion.cut or not (holes[0].any() or holes[1].any()):
        return Pair(motion, reverse.matrix, [], [])
    greys = cv2.cvtColor(first, cv2.COLOR_RGB2GRAY), cv2.cvtColor(second, cv2.COLOR_RGB2GRAY)
    forward = residuals(*greys, *holes, motion, method)
    return Pair(motion, reverse.matrix, forward, residuals(*greys[::-1], *holes[::-1], reverse, method))


@dataclass(frozen=True)
class Footage:
    """Frames `frames` uint8 T H W 3, their widened holes `blocked` (T of uint8 H W, 255 = unknown), and `pairs`, one fewer than frames."""

    frames: NDArray[np.uint8]
    blocked: list[NDArray[np.uint8]]
    pairs: list[Pair]

    def steps(self, start: int, direction: int, reach: int) -> Iterator[tuple[int, Matrix, list[Residual]]]:
        """Walk from frame `start` forth (1) or back (-1): each further frame, the camera's step to it and the flow beside it.

        Ends after `reach` frames, at the end of the footage, or at a cut.
        """
        for distance in range(1, reach + 1):
            index = start + direction * distance
            if not 0 <= index < len(self.frames):
                return
            pair = self.pairs[index - 1 if direction > 0 else index]
            if pair.motion.cut:
                return
            step = (pair.motion.matrix, pair.forward_flow) if direction > 0 else (pair.back, pair.backward_flow)
            yield index, *step

    def matrix(self, start: int, stop: int) -> Matrix | None:
        """Return the camera's motion from one frame to another, or None when a cut lies between."""
        matrix = np.eye(3)
        for index, step, _ in self.steps(start, 1 if stop > start else -1, abs(stop - start)):
            matrix = follow(step, matrix)
            if index == stop:
                return matrix
        return matrix if start == stop else None


def follow(step: Matrix, matrix: Matrix) -> Matrix:
    """Continue a motion by one step; standing still stays exactly that."""
    if np.array_equal(step, np.eye(3)):
        return matrix
    product: Matrix = step @ matrix
    return product / product[2, 2]


class Path:
    """Where the pixels of a rectangle of one frame are in the frames after or before it.

    The steps are composed, so that a source is sampled once, whatever the distance.
    """

    def __init__(self, region: Region) -> None:
        self._grid = np.stack(
            np.meshgrid(np.arange(region.left, region.right, dtype=np.float32), np.arange(region.top, region.bottom, dtype=np.float32)), 2
        )
        self.bent = False  # whether any flow beside the camera's motion was met

    @property
    def places(self) -> NDArray[np.float32]:
        """Coordinates float32 h w 2 (x, y) in the frame reached."""
        return self._grid

    def go(self, step: Matrix, flow: list[Residual]) -> None:
        """Take one step: the flow beside the camera first, then the camera."""
        moved = False
        for residual in flow:
            moved |= self._bend(residual)
        self.bent |= moved
        if not np.array_equal(step, np.eye(3)):
            self._grid = np.asarray(cv2.perspectiveTransform(self._grid, step), np.float32)

    def _bend(self, residual: Residual) -> bool:
        region = residual.region
        x, y = self._grid[..., 0] - region.left, self._grid[..., 1] - region.top
        width, height = region.size
        if x.max() <= 0 or y.max() <= 0 or x.min() >= width or y.min() >= height:
            return False
        self._grid = self._grid + cv2.remap(residual.flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return True
