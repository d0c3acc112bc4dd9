"""Trained models for tests of the jobs: one that counts in levels of grey and remembers what it was shown, and a real, tiny one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from framefill.families.base import Filled, Span, State
from framefill.media.tasks import TASKS

Frames = NDArray[np.uint8]


class Counting:
    """Makes each unknown frame one level lighter than the known one before it, or darker than the one after; black where none is known.

    What it was shown is kept in `shown`, as frames' mean levels with None where unknown, and the noise's place in `places`.
    """

    window, reach = 4, 2

    def __init__(self, tasks: tuple[str, ...] = tuple(TASKS), length: int = 8, name: str = "counting", size: int = 16) -> None:
        self.tasks, self.length, self.name, self.size = tasks, length, name, size
        self.shown: list[list[int | None]] = []
        self.places: list[tuple[int, int]] = []

    def fill_span(self, span: Span, state: State | None) -> tuple[Filled, State]:
        raise AssertionError("a job that makes whole frames fills no holes")

    def work_size(self, height: int, width: int) -> tuple[int, int]:
        scale = min(1.0, self.size / min(height, width))
        return round(height * scale), round(width * scale)

    def make(self, frames: Frames, unknown: NDArray[np.bool_], place: tuple[int, int], told: Callable[[float], None]) -> Frames:
        assert len(frames) == len(unknown) <= self.length
        assert frames.shape[1:3] == self.work_size(*frames.shape[1:3]), "it is shown pictures of its own size"
        self.shown.append([None if hidden else round(float(frame.mean())) for frame, hidden in zip(frames, unknown, strict=True)])
        self.places.append(place)
        made = frames.copy()
        known = np.flatnonzero(~unknown)
        for index in np.flatnonzero(unknown):
            before, after = known[known < index], known[known > index]
            if before.size:
                made[index] = frames[before[-1]] + (index - before[-1])
            elif after.size:
                made[index] = frames[after[0]] - (after[0] - index)
            else:
                made[index] = 100 + index
        told(1.0)
        return made


def greys(levels: list[int], width: int = 32, height: int = 24) -> Frames:
    """Flat frames of these levels."""
    return np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], (len(levels), height, width, 3)).copy()


def levels_of(frames: Frames) -> list[int]:
    """The mean level of each frame."""
    return [round(float(frame.mean())) for frame in frames]


def save_net(folder: Path, tasks: tuple[str, ...] = tuple(TASKS), window: int = 8) -> Path:
    """Write a real VDT of random weights, tiny, for pictures of 16 pixels."""
    torch = pytest.importorskip("torch")
    from framefill.diffusion.precond import Process
    from framefill.families.vdt import VDTPipeline
    from framefill.nets.codec import Pixels
    from framefill.nets.vdt import VDT

    torch.manual_seed(0)
    net = VDT(hidden_size=32, num_layers=1, num_heads=2, patch_size=4, in_channels=3).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(0.1 * torch.randn_like(weight))
    VDTPipeline(net, Process("flow"), Pixels(), list(tasks), window=window, size=16).save_pretrained(folder)
    return folder
