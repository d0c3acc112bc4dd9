"""How good the fill is where the truth is known: a box over real clips, as in benchmarks/, against simple methods."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import framefill
from framefill.families.base import PROPAGATED


@pytest.fixture(scope="module")
def cases() -> ModuleType:
    """The clips, boxes and methods of the benchmark, so that the tests and the figures mean the same."""
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "cases.py"
    spec = importlib.util.spec_from_file_location("cases", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hidden(cases: ModuleType, clip: Path, moving: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A clip, its mask, and the clip with grey in place of what the mask hides."""
    truth = cases.read(clip)
    mask = np.stack([cases.box_at(t, (truth.shape[2], truth.shape[1]), moving) for t in range(len(truth))])
    return truth, mask, np.where(mask[..., None], np.uint8(127), truth)


def test_a_fixed_camera_is_filled_no_worse_than_by_the_temporal_median(cases: ModuleType, vtest: Path) -> None:
    truth, mask, frames = hidden(cases, vtest, moving=True)
    filled = framefill.inpaint(frames, mask)
    hole, _ = cases.score(truth, filled.frames, mask)
    median, _ = cases.score(truth, cases.temporal_median(frames, mask), mask)
    assert hole >= median
    assert hole >= 33
    assert (filled.provenance[mask] == PROPAGATED).mean() > 0.999


def test_a_moving_camera_is_filled_better_than_frame_by_frame(cases: ModuleType, city: Path) -> None:
    truth, mask, frames = (array[:30] for array in hidden(cases, city, moving=True))
    hole, _ = cases.score(truth, framefill.inpaint(frames, mask).frames, mask)
    telea, _ = cases.score(truth, cases.telea(frames, mask), mask)
    assert hole > telea + 2


@pytest.mark.slow
def test_the_four_cases_of_the_project_reach_their_figures(cases: ModuleType, shared: Path) -> None:
    clips = shared / "data" / "dev" / "bmx-trees" / "frames", shared / "data" / "dev" / "schoolgirls" / "video.mp4"
    made, simple = [], []
    for clip in clips:
        for moving in (False, True):
            truth, mask, frames = hidden(cases, clip, moving)
            made.append(cases.score(truth, framefill.inpaint(frames, mask).frames, mask))
            simple.append(cases.score(truth, cases.telea(frames, mask), mask))
            assert made[-1][0] >= simple[-1][0], f"{clip.parent.name}, moving {moving}: below Telea"
    hole, frame = np.mean(made, axis=0)
    assert frame >= 31.0
    assert hole >= np.mean(simple, axis=0)[0] + 3.5
