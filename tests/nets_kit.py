"""What the tests of networks share: weights at random, real weights where they are here, and a scene whose motion is known."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from framefill.errors import MissingWeights
from framefill.weights import store

Picture = NDArray[np.uint8]


def at_random(net: nn.Module, seed: int = 0) -> nn.Module:
    """Fill a network with small random weights, whatever the global generator is at."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.data.normal_(0, 0.05, generator=generator)
    return net.eval()


def real(name: str) -> dict[str, Tensor]:
    """The real weights; the test is skipped where they are not."""
    try:
        return store.load(name)
    except MissingWeights as error:
        pytest.skip(str(error))


@dataclass(frozen=True)
class Moved:
    """Two pictures, the flow between them, and where it can be known: in the picture and not covered by the object."""

    first: Picture
    second: Picture
    flow: NDArray[np.float32]
    known: NDArray[np.bool_]

    def error(self, flow: NDArray[np.float32]) -> float:
        """Mean distance in pixels from the truth."""
        return float(np.linalg.norm(flow - self.flow, axis=2)[self.known].mean())


def moved(background: Picture, thing: Picture, shift: float, seed: int, size: tuple[int, int] = (240, 432)) -> Moved:
    """An ellipse that shows `thing` moves by `shift` pixels over `background`, which zooms and moves by half of that.

    Both pictures are larger than `size` (height, width) by 48 pixels or more on each side.
    """
    height, width = size
    rng = np.random.default_rng(seed)
    zoom = 1 + rng.uniform(-0.04, 0.04)
    directions = [np.array([np.cos(angle), np.sin(angle)]) for angle in rng.uniform(0, 2 * np.pi, 2)]
    centre = np.array([width / 2, height / 2])
    camera = np.column_stack([np.eye(2) * zoom, centre * (1 - zoom) + directions[0] * shift / 2])
    path = np.column_stack([np.eye(2), directions[1] * shift])
    ellipse = np.zeros(thing.shape[:2], np.uint8)
    middle = thing.shape[1] // 2, thing.shape[0] // 2
    cv2.ellipse(ellipse, middle, (width // 6, height // 5), 20, 0, 360, 255, -1)

    def seen(source: Picture, motion: NDArray[np.float64]) -> Picture:
        left, top = (source.shape[1] - width) / 2, (source.shape[0] - height) / 2
        matrix = np.vstack([motion, [0, 0, 1]]) @ np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]])
        return cv2.warpAffine(source, matrix[:2], (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)

    def picture(camera: NDArray[np.float64], path: NDArray[np.float64]) -> tuple[Picture, NDArray[np.bool_]]:
        over = seen(ellipse, path) > 127
        return np.where(over[..., None], seen(thing, path), seen(background, camera)), over

    still = np.eye(3)[:2]
    (first, over_first), (second, over_second) = picture(still, still), picture(camera, path)
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2).astype(np.float64)
    flow = np.where(over_first[..., None], path[:, 2], places @ camera[:, :2].T + camera[:, 2] - places).astype(np.float32)
    ends = (places + flow).astype(np.float32)
    inside = ((ends >= 0) & (ends < (width - 1, height - 1))).all(2)
    covered = ~over_first & (cv2.remap(over_second.view(np.uint8), ends, None, cv2.INTER_NEAREST) > 0)
    return Moved(first, second, flow, inside & ~covered)
