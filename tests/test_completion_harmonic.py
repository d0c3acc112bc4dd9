"""The harmonic fill, in numpy and on batches: near the exact solution of the Laplace equation, whatever the hole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from framefill.families.still import smooth as smooth_picture
from framefill.motion.completion import chebyshev, harmonic, membrane


def exact(values: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Solve the five-point equations, the picture's edge mirrored, by elimination."""
    height, width = hole.shape
    number = np.cumsum(hole).reshape(hole.shape) - 1
    matrix, right = np.eye(int(hole.sum())), np.zeros((int(hole.sum()), 1))
    for row, column in zip(*np.nonzero(hole), strict=True):
        for down, across in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            y, x = min(max(row + down, 0), height - 1), min(max(column + across, 0), width - 1)
            if hole[y, x]:
                matrix[number[row, column], number[y, x]] -= 0.25
            else:
                right[number[row, column]] += 0.25 * values[y, x]
    solved = values.astype(np.float64)
    solved[hole] = np.linalg.solve(matrix, right)[:, 0]
    return solved


def cut(seed: int, height: int = 40, width: int = 48) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width] / 10.0
    values = (np.sin(rows + rng.uniform(0, 6)) + np.cos(columns * rng.uniform(0.5, 1.5))).astype(np.float32)
    hole = np.zeros((height, width), np.bool_)
    top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
    hole[top : top + rng.integers(3, height // 2), left : left + rng.integers(3, width // 2)] = True
    hole[rng.random(hole.shape) < 0.05] = True
    return values, hole


@pytest.mark.parametrize("seed", range(6))
def test_it_is_near_the_exact_solution(seed: int) -> None:
    values, hole = cut(seed)
    assert np.abs(harmonic(values, hole) - exact(values, hole))[hole].mean() < 0.02  # of values from -2 to 2


def test_in_a_large_hole_it_is_nearer_than_a_membrane() -> None:
    values, hole = cut(7, 60, 60)
    hole[:] = False
    hole[15:47, 12:44] = True
    wanted = exact(values, hole)
    error, rough = (np.abs(made - wanted)[hole].mean() for made in (harmonic(values, hole), membrane(values, hole)))
    assert error < 0.7 * rough


def test_a_plane_is_continued() -> None:
    rows, columns = np.mgrid[0:50, 0:60].astype(np.float32)
    values = np.dstack([rows, columns, rows + 2 * columns])
    hole = np.zeros((50, 60), np.bool_)
    hole[10:35, 20:50] = True
    assert np.abs(harmonic(values, hole) - values).max() < 0.5


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_any_hole_in_any_picture(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, hole = rng.random((height, width, 3), np.float32), rng.random((height, width)) < rng.random()
    made = harmonic(values, hole)
    assert made.dtype == np.float32
    assert made.shape == values.shape
    assert np.array_equal(made[~hole], values[~hole])
    if hole.all():
        assert not made.any()
    else:
        low, high = values[~hole].min((0, 1) if values[~hole].ndim > 2 else 0), values[~hole].max(0)
        assert (made >= low - 0.35).all()
        assert (made <= high + 0.35).all()


def test_what_the_hole_holds_is_not_looked_at() -> None:
    values, hole = cut(1)
    assert np.array_equal(harmonic(values, hole), harmonic(np.where(hole, np.float32(7), values), hole))


def test_a_single_known_pixel_is_everywhere() -> None:
    values, hole = np.full((33, 21), 0.7, np.float32), np.ones((33, 21), np.bool_)
    hole[4, 17] = False
    assert np.allclose(harmonic(values, hole), 0.7, atol=1e-5)


def test_the_semi_iteration_begins_as_jacobi_and_settles() -> None:
    weights = list(chebyshev(60))
    assert weights[0] == 1
    assert all(1 < weight < 2 for weight in weights[1:])
    assert abs(weights[-1] - weights[-2]) < 1e-3


def test_batches_are_filled_as_pictures_are() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from framefill.families.light import smooth

    cuts = [cut(seed) for seed in range(3)]
    pictures = torch.stack([torch.from_numpy(values)[None] for values, _ in cuts])
    known = torch.stack([torch.from_numpy(~hole)[None].float() for _, hole in cuts])
    made = smooth(pictures, known)
    for row, (values, hole) in zip(made[:, 0].numpy(), cuts, strict=True):
        assert np.abs(row - exact(values, hole))[hole].mean() < 0.02
        assert np.array_equal(row[~hole], values[~hole])


def test_a_picture_of_which_nothing_is_known_is_grey() -> None:
    assert (smooth_picture(np.zeros((5, 6, 3), np.uint8), np.ones((5, 6), np.bool_)) == 127).all()
