"""The seam scores against closed forms: what they must be on pictures whose seam is known."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from framefill.errors import MaskMismatch
from framefill.evaluation.seam import seam_score, temporal_jump, temporal_seam

Picture = NDArray[np.uint8]
Hole = NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)


def flat(level: int, height: int = 60, width: int = 80) -> Picture:
    return np.full((height, width, 3), level, np.uint8)


def box(top: int, left: int, tall: int, wide: int, height: int = 60, width: int = 80) -> Hole:
    hole = np.zeros((height, width), bool)
    hole[top : top + tall, left : left + wide] = True
    return hole


def texture(seed: int = 0, height: int = 60, width: int = 80) -> Picture:
    return np.random.default_rng(seed).integers(90, 130, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("hole", [box(20, 20, 15, 25), box(0, 0, 10, 10), box(10, 0, 10, 80), box(59, 79, 1, 1), box(0, 0, 60, 78)])
@pytest.mark.parametrize(("around", "fill"), [(100, 117), (117, 100), (0, 255), (255, 0), (8, 8)])
def test_a_flat_fill_of_another_level_scores_that_difference(hole: Hole, around: int, fill: int) -> None:
    after = np.where(hole[..., None], flat(fill), flat(around))
    assert seam_score(flat(around), after, hole) == abs(fill - around)


def test_a_seam_in_one_channel_counts_a_third() -> None:
    after = flat(50)
    hole = box(20, 20, 10, 10)
    after[hole, 2] = 80
    assert seam_score(flat(50), after, hole) == 10


@pytest.mark.parametrize("slope", [1, 2, 3])
def test_the_true_ramp_as_fill_scores_exactly_nothing(slope: int) -> None:
    ramp = np.broadcast_to((np.arange(80, dtype=np.uint8) * slope)[None, :, None], (60, 80, 3)).copy()
    assert seam_score(ramp, ramp, box(20, 20, 15, 25)) == 0


def test_the_true_texture_as_fill_scores_nearly_nothing_and_an_offset_shows_through_it() -> None:
    truth, hole = texture(height=300, width=400), box(50, 50, 200, 300, 300, 400)
    assert seam_score(truth, truth, hole) < 1
    shifted = truth.copy()
    shifted[hole] += 60  # wider than the texture's own range of 40: each jump across the rim grows by exactly 60 on average
    assert seam_score(truth, shifted, hole) == pytest.approx(60 - 40 / 3, abs=1.5)  # less the texture's own mean jump, (n2 - 1) / 3n


def test_a_fill_smoother_than_its_surroundings_is_no_seam() -> None:
    hole, truth = box(20, 20, 20, 20), texture()
    smooth = truth.copy()
    smooth[hole] = 110
    assert seam_score(truth, smooth, hole) == 0


def test_a_bare_fill_and_its_composite_score_alike_and_hidden_pixels_do_not_count() -> None:
    before, fill, hole = texture(1), texture(2), box(12, 30, 20, 20)
    composite = np.where(hole[..., None], fill, before)
    hidden = before.copy()
    hidden[hole] = 255 - hidden[hole]
    score = seam_score(before, composite, hole)
    assert score == seam_score(before, fill, hole) == seam_score(hidden, composite, hole)


@settings(max_examples=40, deadline=None)
@given(down=st.integers(0, 20), right=st.integers(0, 30), seed=st.integers(0, 2**16))
def test_the_score_moves_with_the_picture(down: int, right: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene, fill = texture(seed, 30, 40), texture(seed + 1, 30, 40)
    blob = rng.random((30, 40)) < 0.1
    blob[:3] = blob[-3:] = blob[:, :3] = blob[:, -3:] = False

    def placed(small: NDArray[Scalar], top: int, left: int) -> NDArray[Scalar]:
        large = np.zeros((60, 80, *small.shape[2:]), small.dtype)
        large[top : top + 30, left : left + 40] = small
        return large

    here = seam_score(placed(scene, 0, 0), placed(fill, 0, 0), placed(blob, 0, 0))
    there = seam_score(placed(scene, down, right), placed(fill, down, right), placed(blob, down, right))
    assert here == there == pytest.approx(seam_score(scene, fill, blob), nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), seed=st.integers(0, 2**16), share=st.floats(0, 1))
def test_the_score_is_the_mean_over_all_rim_places(height: int, width: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    before, after = (rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(2))
    hole = rng.random((height, width)) < share
    excess = []
    for y, x in zip(*np.nonzero(hole), strict=True):
        for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            q, r = (y + down, x + right), (y + 2 * down, x + 2 * right)
            if 0 <= r[0] < height and 0 <= r[1] < width and not hole[q] and not hole[r]:
                across = np.abs(after[y, x].astype(float) - before[q]).mean()
                excess.append(across - np.abs(before[q].astype(float) - before[r]).mean())
    expected = max(np.mean(excess), 0) if excess else math.nan
    assert seam_score(before, after, hole) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("hole", [box(0, 0, 0, 0), box(0, 0, 60, 80), box(1, 1, 58, 78), box(0, 0, 60, 79)])
def test_nothing_to_compare_is_nan(hole: Hole) -> None:
    assert math.isnan(seam_score(flat(1), flat(2), hole))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 9), (9, 1), (2, 2)])
def test_tiny_frames_are_measured_or_nan(shape: tuple[int, int]) -> None:
    hole = np.zeros(shape, bool)
    hole[0, 0] = True
    score = seam_score(flat(10, *shape), flat(30, *shape), hole)
    assert score == 20 if max(shape) > 2 else math.isnan(score)


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(MaskMismatch, match="one size"):
        seam_score(flat(1), flat(1), box(0, 0, 5, 5, 61, 80))
    with pytest.raises(MaskMismatch, match="one size"):
        temporal_jump(flat(1), flat(1, 60, 81), box(0, 0, 5, 5))


def test_a_temporal_jump_is_the_mean_change_inside_the_hole_alone() -> None:
    hole = box(5, 6, 7, 8)
    previous, current = flat(100), flat(100)
    current[~hole] = 250
    assert temporal_jump(previous, current, hole) == 0
    current[hole] = (110, 120, 130)
    assert temporal_jump(previous, current, hole) == pytest.approx(20)
    assert temporal_jump(current, previous, hole) == pytest.approx(20)
    assert math.isnan(temporal_jump(previous, current, box(0, 0, 0, 0)))


def test_a_jump_at_a_window_border_is_held_against_the_frames_around_it() -> None:
    jumps = [math.nan] + [2.0] * 19 + [9.0] + [4.0] * 19 + [4.0] + [4.0] * 19
    seams = temporal_seam(jumps, {40, 20}, radius=5)
    assert seams == {20: 9.0 - 3.0, 40: 0.0}
    assert list(seams) == [20, 40]


def test_borders_do_not_count_as_normal_and_unknown_ones_are_nan() -> None:
    jumps = [math.nan, 1.0, 8.0, 8.0, 8.0, 1.0]
    seams = temporal_seam(jumps, [2, 3, 4], radius=2)
    assert seams == {2: 7.0, 3: 7.0, 4: 7.0}
    assert math.isnan(temporal_seam(jumps, [0])[0])
    assert math.isnan(temporal_seam(jumps, [99])[99])
    assert math.isnan(temporal_seam([5.0], [0])[0])
    assert temporal_seam([], []) == {}
