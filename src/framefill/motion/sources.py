"""Which frames show what a hole hides: samples of other frames at the places where a path leads, with how far each can be trusted.

Every source is sampled once, at the end of the composed path, and only at the pixels of the hole and its rim. How far it can be trusted is
measured where the truth is known: on the rim, brought over in the same way (a source that does not fit there will not fit inside).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.motion.completion import pull_push
from framefill.motion.footage import Footage, Path, follow, moved, sample
from framefill.motion.regions import Region
from framefill.motion.registration import Matrix

MARGIN = 12  # pixels of known picture around a hole on which sources are measured
PER_DIRECTION = 10  # samples a pixel takes from the frames on one side
BENT_PER_DIRECTION = 3  # of those that follow flow beside the camera's motion
BENT_REACH = 16  # frames up to which a path follows such flow
MOST = 16
WORTH = 0.08  # share of the hole that a source must bring, unless it brings what no nearer one has
DENSE = 4  # neighbours all looked at; beyond, at growing distance
GROWTH = 1.25
DRIFT = 8.0  # frames after which a path bent by flow has lost half of its say: its errors add up, the camera's hardly do
CAP = 40.0  # levels; a larger difference on the rim says no more than this one
GRID = 4  # pixels; errors are spread on a grid this coarse
NEAR = 2.0  # cells; standard deviation of the blur that joins errors
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Target:
    """The pixels of a frame to be filled, and the known ones around them, as a list of N.

    `points` float32 N 2 (x, y); `colours` uint8 N 3, the frame's own, to be read where not `unknown` (bool N; the untrusted rim
    included); `place` are the rows and columns of the points in the rectangle `region`, and `cells` joins neighbours.
    """

    index: int
    region: Region
    place: tuple[NDArray[np.intp], NDArray[np.intp]]
    points: NDArray[np.float32]
    colours: NDArray[np.uint8]
    unknown: NDArray[np.bool_]
    cells: Cells


@dataclass(frozen=True)
class Source:
    """One frame brought to the target's points: `colours` uint8 N 3, `usable` bool N, `error` float32 N (mean square, levels^2).

    `nearness` is its weight by distance in time.
    """

    colours: NDArray[np.uint8]
    usable: NDArray[np.bool_]
    error: NDArray[np.float32]
    nearness: float


@dataclass(frozen=True)
class KeyFrame:
    """A far frame kept for later: its picture uint8 H W 3, its widened hole (255 = unknown), and how the camera moved to it.

    `matrix` leads from the footage's frame `seen_from` to it; `distance` is the number of frames between the two.
    """

    picture: NDArray[np.uint8]
    blocked: NDArray[np.uint8]
    matrix: Matrix
    seen_from: int
    distance: int


class Cells:
    """A coarse grid over the points of a target, to carry what is measured on the rim into the hole."""

    def __init__(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> None:
        self._high, self._wide = int(rows.max()) // GRID + 1, int(columns.max()) // GRID + 1
        self._cell = (rows // GRID) * self._wide + columns // GRID
        self._inside = (np.stack([columns, rows], 1) / GRID - (0.5 - 0.5 / GRID)).astype(np.float32)

    def total(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sum up values float32 N by cell and join neighbouring cells: float32 rows columns."""
        counted = np.bincount(self._cell, values, self._high * self._wide).astype(np.float32)
        return np.asarray(cv2.GaussianBlur(counted.reshape(self._high, self._wide), (0, 0), NEAR), np.float32)

    def spread(self, total: NDArray[np.float32], count: NDArray[np.float32], without: float) -> NDArray[np.float32]:
        """Carry the mean `total / count` of cells smoothly to all points, float32 N; `without` any count, that value."""
        measured = count > 0.02 * GRID * GRID
        if not measured.any():
            return np.full(len(self._cell), without, np.float32)
        mean = pull_push(np.asarray(total / np.maximum(count, 1e-6), np.float32), measured)
        return sample(mean, self._inside, cv2.INTER_LINEAR)


def target_of(index: int, frame: NDArray[np.uint8], blocked: NDArray[np.uint8]) -> Target:
    """List the pixels to be filled in a frame (uint8 H W 3, at least one pixel of `blocked` set) and those around them."""
    height, width = blocked.shape
    left, top, wide, high = cv2.boundingRect(blocked)
    region = Region(left, top, left + wide, top + high).grown(MARGIN, height, width)
    near = cv2.dilate(blocked[region.area], np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8))
    rows, columns = np.nonzero(near)
    points = np.stack([columns + region.left, rows + region.top], 1).astype(np.float32)
    unknown = blocked[region.area][rows, columns] > 0
    return Target(index, region, (rows, columns), points, frame[region.area][rows, columns], unknown, Cells(rows, columns))


def gather(footage: Footage, target: Target, reach: int) -> list[Source]:
    """Collect the sources of a target from the frames within `reach` on both sides, nearest first on each side."""
    return [source for direction in (1, -1) for source in _one_side(footage, target, direction, reach)]


def from_key_frames(footage: Footage, key_frames: list[KeyFrame], target: Target, missing: NDArray[np.bool_]) -> list[Source]:
    """Collect sources for the points that are still `missing` (bool N) from far key frames."""
    found = []
    for key in key_frames:
        near = footage.matrix(target.index, key.seen_from)
        if near is None:
            continue
        points = moved(target.points, follow(key.matrix, near))
        usable = known_at(key.blocked, points)
        if (usable & missing).any():
            found.append(_source(key.picture, points, usable, target, 1 / key.distance))
    return found


def known_at(blocked: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which points lie inside the picture, on pixels that are all known."""
    known: NDArray[np.bool_] = sample(blocked, points, cv2.INTER_LINEAR, outside=255) == 0
    return known


def rim_error(colours: NDArray[np.uint8], target: Target, usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Measure how well a source fits the known pixels around the hole and carry that smoothly into it: mean square, levels^2."""
    away = np.minimum(cv2.absdiff(colours, target.colours).astype(np.float32) @ LUMA, np.float32(CAP))
    rim = (usable & ~target.unknown).astype(np.float32)
    return target.cells.spread(target.cells.total(away * away * rim), target.cells.total(rim), CAP * CAP)


def _one_side(footage: Footage, target: Target, direction: int, reach: int) -> Iterator[Source]:
    straight, bent = _Share(target.unknown, PER_DIRECTION), _Share(target.unknown, BENT_PER_DIRECTION)
    matrix, path = np.eye(3), Path(target.points)
    wanted = _distances(reach)
    for index, step, flow in footage.steps(target.index, direction, reach):
        matrix = follow(step, matrix)
        picture, blocked = footage.frames[index], footage.blocked[index]
        distance = abs(index - target.index)
        if distance <= BENT_REACH and not bent.full:
            path.go(step, flow)
            if path.bent and (distance in wanted or bent.lacks_some):
                usable = bent.take(known_at(blocked, path.points))
                if usable is not None:
                    nearness = 1 / (distance * (1 + (distance / DRIFT) ** 2))
                    yield _source(picture, path.points, usable, target, nearness)
        if distance in wanted or straight.lacks_some:
            points = moved(target.points, matrix)
            usable = straight.take(known_at(blocked, points))
            if usable is not None:
                yield _source(picture, points, usable, target, 1 / distance)
        if straight.full:
            return


def _source(picture: NDArray[np.uint8], points: NDArray[np.float32], usable: NDArray[np.bool_], target: Target, nearness: float) -> Source:
    colours = sample(picture, points, cv2.INTER_CUBIC)
    return Source(colours, usable, rim_error(colours, target, usable), nearness)


class _Share:
    """How many samples each unknown pixel has had, and whether one more source is worth its work."""

    def __init__(self, unknown: NDArray[np.bool_], most: int) -> None:
        self._unknown = unknown
        self._least = WORTH * np.count_nonzero(unknown)
        self._taken = np.zeros(unknown.shape, np.uint8)
        self._most = most
        self._sources = 0
        self.lacks_some = True  # whether a pixel has had none
        self.full = False  # whether every pixel has had its number

    def take(self, usable: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Count a source that knows the pixels `usable`; return those it serves, the rim included, or None when it is not worth it."""
        serves = usable & (self._taken < self._most)
        new = serves & self._unknown
        count = np.count_nonzero(new)
        poor = count < self._least or self._sources >= MOST
        if not count or (poor and not (self.lacks_some and (new & (self._taken == 0)).any())):
            return None
        self._sources += 1
        self._taken += serves
        fewest = self._taken[self._unknown].min()
        self.lacks_some, self.full = fewest == 0, fewest >= self._most
        return serves


def _distances(reach: int) -> set[int]:
    """Distances at which frames are looked at as a matter of course: all near ones, then ever fewer."""
    distances, distance = set(), 1.0
    while round(distance) <= reach:
        distances.add(round(distance))
        distance = distance + 1 if distance < DENSE else max(distance * GROWTH, distance + 1)
    return distances
