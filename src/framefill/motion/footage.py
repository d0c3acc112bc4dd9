"""A run of frames with holes and everything known of how they move: what propagation looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.motion.flow import FlowMethod, Residual, View, dis, residuals
from framefill.motion.registration import Look, Matrix, Motion, register

RIM = 2  # pixels around a hole that are not trusted as known: compression and soft masks have mixed them with what was hidden
BLOCKED = np.uint8(255)
DEFECTIVE = 1e6  # condition number from which eigenvectors are no basis to work with
ROW = 512  # points sampled in one row of a picture: OpenCV takes no picture with a side above 32,767
S = TypeVar("S", np.uint8, np.float32)


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
    reverse = Motion(_reverse(motion.matrix), motion.error, motion.cut)
    holes = blocked[0] > 0, blocked[1] > 0
    if motion.cut or not (holes[0].any() or holes[1].any()):
        return Pair(motion, reverse.matrix, [], [])
    here, there = (
        View(np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8), hole)
        for frame, hole in zip((first, second), holes, strict=True)
    )
    return Pair(motion, reverse.matrix, residuals(here, there, motion, method), residuals(there, here, reverse, method))


def bridge(pairs: list[Pair], looks: list[Look]) -> list[Pair]:
    """Lead motion across frames of which next to nothing is known, from the frame before them to the frame after.

    The camera is taken to move evenly in between; a cut between the two is put before the frame after.
    """
    bridged = list(pairs)
    seen = [index for index, look in enumerate(looks) if not look.blank]
    for start, stop in pairwise(seen):
        if stop - start > 1:
            motion = register(looks[start], looks[stop])
            step = np.eye(3) if motion.cut else root(motion.matrix, stop - start)
            even = Pair(Motion(step, motion.error, False), _reverse(step), [], [])
            bridged[start:stop] = [even] * (stop - start)
            bridged[stop - 1] = replace(even, motion=Motion(step, motion.error, motion.cut))
    return bridged


def root(matrix: Matrix, count: int) -> Matrix:
    """Return the motion that, taken `count` times, is `matrix`: its root by eigenvalues."""
    if np.array_equal(matrix, np.eye(3)):
        return matrix
    values, vectors = np.linalg.eig(matrix.astype(np.complex128))
    if np.linalg.cond(vectors) > DEFECTIVE:
        # A pure shift has no full set of eigenvectors; near one, going even steps between the matrix and standing still is exact enough.
        mixed: Matrix = np.eye(3) + (matrix / matrix[2, 2] - np.eye(3)) / count
        return mixed
    rooted = (vectors @ np.diag(values ** (1 / count)) @ np.linalg.inv(vectors)).real
    scaled: Matrix = rooted / rooted[2, 2]
    return scaled


def _reverse(matrix: Matrix) -> Matrix:
    """Return the motion back; standing still stays exactly that."""
    back = np.asarray(np.linalg.inv(matrix), np.float64)
    return matrix if np.array_equal(matrix, np.eye(3)) else back / back[2, 2]


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
    product = step @ matrix
    scaled: Matrix = product / product[2, 2]
    return scaled


class Path:
    """Where points of one frame are in the frames after or before it: float32 N 2 (x, y).

    The steps are composed, so that a source is sampled once, whatever the distance.
    """

    def __init__(self, points: NDArray[np.float32]) -> None:
        self.points = points
        self.bent = False  # whether any flow beside the camera's motion was met

    def go(self, step: Matrix, flow: list[Residual]) -> None:
        """Take one step: the flow beside the camera first, then the camera."""
        bends = [self._flow_of(residual) for residual in flow]
        for bend in bends:
            if bend is not None:
                self.points = self.points + bend
                self.bent = True
        self.points = moved(self.points, step)

    def _flow_of(self, residual: Residual) -> NDArray[np.float32] | None:
        """Look the flow up on one rectangle, zero beyond it; None where no point lies near it."""
        region = residual.region
        inside = self.points - np.array([region.left, region.top], np.float32)
        x, y = inside[:, 0], inside[:, 1]
        if x.max() <= 0 or y.max() <= 0 or x.min() >= region.size[0] or y.min() >= region.size[1]:
            return None
        return sample(residual.flow, inside, cv2.INTER_LINEAR, outside=0)


def moved(points: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float32]:
    """Take points float32 N 2 through a homography; standing still changes nothing."""
    if np.array_equal(matrix, np.eye(3)):
        return points
    return np.asarray(cv2.perspectiveTransform(points[:, None], matrix), np.float32)[:, 0]


def sample(picture: NDArray[S], points: NDArray[np.float32], how: int, outside: int | None = None) -> NDArray[S]:
    """Sample a picture H W or H W C at points float32 N 2 (x, y), beyond its edge its edge pixels or the value `outside`; N or N C."""
    count = len(points)
    rows = -(-count // ROW)
    grid = np.zeros((rows * ROW, 2), np.float32)
    grid[:count] = points
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    x, y = np.ascontiguousarray(grid[:, 0]).reshape(rows, ROW), np.ascontiguousarray(grid[:, 1]).reshape(rows, ROW)
    value = (0 if outside is None else outside,) * 4
    taken = cv2.remap(picture, x, y, how, borderMode=border, borderValue=value)
    return np.asarray(taken, picture.dtype).reshape(rows * ROW, *picture.shape[2:])[:count]
