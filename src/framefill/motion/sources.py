"""Which frames show what a hole hides: samples of other frames at the places where a path leads, with how far each can be trusted.

Every source is sampled once, at the end of the composed path. How far it can be trusted is measured where the truth is known: on the
known pixels around the hole, brought over in the same way (a source that does not fit there will not fit inside).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.motion.completion import pull_push
from framefill.motion.flow import warp_region
from framefill.motion.footage import Footage, Path, follow
from framefill.motion.regions import Region
from framefill.motion.registration import Matrix

PER_DIRECTION = 10  # samples a pixel takes from the frames on one side
BENT_PER_DIRECTION = 3  # of those that follow flow beside the camera's motion
BENT_REACH = 16  # frames up to which a path follows such flow
WORTH = 0.02  # share of the hole that a source must bring, unless it brings what no nearer one has
DENSE = 4  # neighbours all looked at; beyond, at growing distance
GROWTH = 1.25
DRIFT = 8.0  # frames after which a path bent by flow has lost half of its say: its errors add up, the camera's hardly do
CAP = 40.0  # levels; a larger difference on the rim says no more than this one
GRID = 4  # pixels; errors are spread on a grid this coarse


@dataclass(frozen=True)
class Source:
    """One frame brought to the target's rectangle: `colours` uint8 h w 3, `usable` bool h w, `error` float32 h w (mean square, levels^2).

    `nearness` is its weight by distance in time.
    """

    colours: NDArray[np.uint8]
    usable: NDArray[np.bool_]
    error: NDArray[np.float32]
    nearness: float


@dataclass(frozen=True)
class Target:
    """A rectangle of a frame that is to be filled: its picture uint8 h w 3, and bool h w where that is unknown (rim included)."""

    index: int
    region: Region
    picture: NDArray[np.uint8]
    unknown: NDArray[np.bool_]


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


def gather(footage: Footage, target: Target, reach: int) -> list[Source]:
    """Collect the sources of a target from the frames within `reach` on both sides, nearest first on each side."""
    return [source for direction in (1, -1) for source in _one_side(footage, target, direction, reach)]


def from_key_frames(footage: Footage, key_frames: list[KeyFrame], target: Target, missing: NDArray[np.bool_]) -> list[Source]:
    """Collect sources for the pixels that are still `missing` (bool h w) from far key frames."""
    found = []
    for key in key_frames:
        near = footage.matrix(target.index, key.seen_from)
        if near is None:
            continue
        matrix = follow(key.matrix, near)
        usable = warp_region(key.blocked, matrix, target.region, outside=255) == 0
        if (usable & missing).any():
            found.append(_source(warp_region(key.picture, matrix, target.region, cv2.INTER_CUBIC), usable, target, 1 / key.distance))
    return found


def _one_side(footage: Footage, target: Target, direction: int, reach: int) -> Iterator[Source]:
    straight, bent = _Share(target.unknown, PER_DIRECTION), _Share(target.unknown, BENT_PER_DIRECTION)
    matrix, path = np.eye(3), Path(target.region)
    wanted = _distances(reach)
    for index, step, flow in footage.steps(target.index, direction, reach):
        matrix = follow(step, matrix)
        picture, blocked = footage.frames[index], footage.blocked[index]
        distance = abs(index - target.index)
        if distance <= BENT_REACH and not bent.full:
            path.go(step, flow)
            if path.bent and (distance in wanted or bent.lacks_some):
                usable = bent.take(_known_along(blocked, path))
                if usable is not None:
                    # A path's errors add up, a camera's hardly do: it loses half of its say after `DRIFT` frames.
                    yield _source(_along(picture, path), usable, target, 1 / (distance * (1 + (distance / DRIFT) ** 2)))
        if distance in wanted or straight.lacks_some:
            usable = straight.take(warp_region(blocked, matrix, target.region, outside=255) == 0)
            if usable is not None:
                yield _source(warp_region(picture, matrix, target.region, cv2.INTER_CUBIC), usable, target, 1 / distance)
        if straight.full:
            return


class _Share:
    """How many samples each unknown pixel has had, and whether one more source is worth its work."""

    def __init__(self, unknown: NDArray[np.bool_], most: int) -> None:
        self._unknown = unknown
        self._least = WORTH * np.count_nonzero(unknown)
        self._taken = np.zeros(unknown.shape, np.uint8)
        self._most = most
        self.lacks_some = True  # whether a pixel has had none
        self.full = False  # whether every pixel has had its number

    def take(self, usable: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Count a source that knows the pixels `usable`; return those it serves, the rim included, or None when it is not worth it."""
        serves = usable & (self._taken < self._most)
        new = serves & self._unknown
        count = np.count_nonzero(new)
        if not count or (count < self._least and not (self.lacks_some and (new & (self._taken == 0)).any())):
            return None
        self._taken += serves
        fewest = self._taken[self._unknown].min()
        self.lacks_some, self.full = fewest == 0, fewest >= self._most
        return serves


def _known_along(blocked: NDArray[np.uint8], path: Path) -> NDArray[np.bool_]:
    """Tell where a path ends on known pixels."""
    x, y = path.places[..., 0], path.places[..., 1]
    return cv2.remap(blocked, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=255) == 0


def _along(picture: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """Bring a frame over along a path."""
    x, y = path.places[..., 0], path.places[..., 1]
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _source(colours: NDArray[np.uint8], usable: NDArray[np.bool_], target: Target, nearness: float) -> Source:
    return Source(colours, usable, rim_error(colours, target, usable), nearness)


def rim_error(colours: NDArray[np.uint8], target: Target, usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Measure how well a source fits the known pixels around the hole and carry that smoothly into it: mean square, levels^2."""
    away = cv2.cvtColor(cv2.absdiff(colours, target.picture), cv2.COLOR_RGB2GRAY)
    return spread_error(cv2.multiply(away, away, dtype=cv2.CV_32F), usable & ~target.unknown, CAP)


def spread_error(square: NDArray[np.float32], rim: NDArray[np.bool_], cap: float) -> NDArray[np.float32]:
    """Carry errors (float32 h w, squares, capped at `cap` squared) known on `rim` smoothly everywhere."""
    height, width = rim.shape
    small = (width + GRID - 1) // GRID, (height + GRID - 1) // GRID
    weight = rim.astype(np.float32)
    total = cv2.GaussianBlur(cv2.resize(np.minimum(square, cap * cap) * weight, small, interpolation=cv2.INTER_AREA), (0, 0), 2.0)
    share = cv2.GaussianBlur(cv2.resize(weight, small, interpolation=cv2.INTER_AREA), (0, 0), 2.0)
    measured = share > 0.02
    if not measured.any():
        return np.full(rim.shape, cap * cap, np.float32)
    spread = pull_push((total / np.maximum(share, 1e-6)).astype(np.float32), measured)
    return np.asarray(cv2.resize(spread, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _distances(reach: int) -> set[int]:
    """Distances at which frames are looked at as a matter of course: all near ones, then ever fewer."""
    distances, distance = set(), 1.0
    while round(distance) <= reach:
        distances.add(round(distance))
        distance = distance + 1 if distance < DENSE else max(distance * GROWTH, distance + 1)
    return distances
