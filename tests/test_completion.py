"""Completion of a field in a hole against closed forms: constants, the linear field, the Laplace equation solved directly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scenes import box

from framefill.motion.completion import membrane, pull_push

Field = NDArray[np.float32]
Hole = NDArray[np.bool_]
Complete = Callable[[Field, Hole], Field]


def by_pull_push(values: Field, hole: Hole) -> Field:
    return pull_push(values, ~hole)


BOTH = pytest.mark.parametrize("complete", [by_pull_push, membrane])


def linear(height: int, width: int) -> Field:
    y, x = np.mgrid[0:height, 0:width]
    return (2 * x - 1.5 * y + 7).astype(np.float32)


def laplace(values: Field, hole: Hole) -> NDArray[np.float64]:
    """The Laplace equation in a hole by a dense solve; beyond the picture's edge stand its edge pixels."""
    height, width = hole.shape
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(hole.sum())
    matrix, right = np.eye(hole.sum()), np.zeros(hole.sum())
    for row, column in np.argwhere(hole):
        this = number[row, column]
        for down, across in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            near = min(max(row + down, 0), height - 1), min(max(column + across, 0), width - 1)
            if hole[near]:
                matrix[this, number[near]] -= 0.25
            else:
                right[this] += values[near] / 4
    solved = values.astype(np.float64)
    solved[hole] = np.linalg.solve(matrix, right)
    return solved


@BOTH
@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40), width=st.integers(1, 40), share=st.floats(0, 1), channels=st.sampled_from([0, 2, 3]), seed=st.integers(0, 99)
)
def test_the_known_stays_and_the_rest_lies_between_its_extremes(
    complete: Complete, height: int, width: int, share: float, channels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    hole = rng.random((height, width)) < share
    hole[rng.integers(height), rng.integers(width)] = False
    values = rng.uniform(-50, 200, (height, width, channels) if channels else (height, width)).astype(np.float32)
    done = complete(values, hole)
    assert done.dtype == np.float32
    assert done.shape == values.shape
    assert np.array_equal(done[~hole], values[~hole])
    assert done.min() >= values[~hole].min() - 1e-2
    assert done.max() <= values[~hole].max() + 1e-2
    other = values.copy()
    other[hole] = 1e4
    assert np.array_equal(complete(other, hole), done), "what stands in the hole was read"


@BOTH
def test_a_constant_is_completed_to_that_constant(complete: Complete) -> None:
    hole = box(60, 80, 15, 20, 30, 40)
    values = np.full((60, 80, 2), 13.7, np.float32)
    values[hole] = -1000
    assert np.abs(complete(values, hole) - 13.7).max() < 1e-4


@BOTH
def test_nothing_known_gives_zeros_and_no_hole_gives_the_field(complete: Complete) -> None:
    values = linear(9, 12)
    assert not complete(values, np.ones((9, 12), np.bool_)).any()
    assert np.array_equal(complete(values, np.zeros((9, 12), np.bool_)), values)


@BOTH
@pytest.mark.parametrize(("height", "width"), [(1, 300), (2, 7), (20, 2000), (400, 3)])
def test_a_hole_across_the_whole_of_a_narrow_strip_is_filled_to_its_middle(complete: Complete, height: int, width: int) -> None:
    along = slice(1, -1) if width > height else slice(None)
    hole = np.zeros((height, width), np.bool_)
    hole[slice(1, -1) if height > width else slice(None), along] = True
    values = np.where(hole, np.float32(-1000), np.float32(50))
    assert np.abs(complete(values, hole) - 50).max() < 1e-3


@pytest.mark.parametrize(("tall", "wide"), [(20, 20), (30, 40), (24, 50)])
def test_the_membrane_of_a_linear_field_is_linear_where_pull_push_is_not(tall: int, wide: int) -> None:
    hole, truth = box(60, 80, 15, 20, tall, wide), linear(60, 80)
    values = np.where(hole, np.float32(1e6), truth)
    across = float(np.ptp(truth[hole]))
    assert np.abs(membrane(values, hole) - truth).max() < 0.02 * across
    assert np.abs(by_pull_push(values, hole) - truth).max() > 0.04 * across


@pytest.mark.parametrize(
    "hole",
    [box(24, 30, 8, 9, 6, 7), box(24, 30, 5, 5, 14, 16), box(24, 30, 0, 4, 9, 12), box(24, 30, 12, 20, 12, 10)],
    ids=["small", "large", "edge", "corner"],
)
def test_with_more_sweeps_the_membrane_tends_to_the_laplace_equation(hole: Hole) -> None:
    values = np.random.default_rng(1).uniform(0, 100, hole.shape).astype(np.float32)
    truth = laplace(values, hole)
    errors = [np.abs(membrane(values, hole, sweeps) - truth).max() for sweeps in (2, 20, 600)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.05
