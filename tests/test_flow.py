"""Residual flow on planes and sprites whose motion is known: around the hole, inside it, and where nothing moves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import Hole, Picture, box, camera_move, moved_pair, noisy, seen_at, shift, texture

from framefill.motion.completion import pull_push
from framefill.motion.flow import MARGIN, Residual, View, dis, residuals, warp_region
from framefill.motion.footage import RIM, widen
from framefill.motion.regions import Region
from framefill.motion.registration import Motion

HEIGHT, WIDTH = 160, 240
HOLE = box(HEIGHT, WIDTH, 60, 90, 40, 60)
STILL = Motion(np.eye(3), 0.0, False)


def view(picture: Picture, hole: Hole = HOLE) -> View:
    return View(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8), hole)


def planes(step: tuple[int, int], seed: int = 1) -> tuple[Picture, Picture]:
    canvas = texture(seed, HEIGHT + 60, WIDTH + 60)
    first, second = seen_at(canvas, (HEIGHT, WIDTH), [(30, 30), (30 - step[0], 30 - step[1])])
    return first.copy(), second.copy()


def off(residual: Residual, step: tuple[float, float]) -> NDArray[np.float32]:
    return np.abs(residual.flow - np.array(step, np.float32)).max(2)


@pytest.mark.parametrize("step", [(4, 0), (3, 2), (-5, 1), (1, 0), (8, -3)])
def test_a_plane_that_moves_beside_the_camera_is_followed_around_the_hole_and_completed_inside(step: tuple[int, int]) -> None:
    first, second = planes(step)
    (residual,) = residuals(view(first), view(second), STILL)
    assert residual.region == Region(90 - MARGIN, 60 - MARGIN, 150 + MARGIN, 100 + MARGIN)
    wrong, inside = off(residual, step), HOLE[residual.region.area]
    assert np.median(wrong[~inside]) < 0.1
    assert wrong[inside].max() < 0.15 + 0.1 * np.hypot(*step)
    assert np.median(wrong[inside]) < 0.25


def test_flow_is_what_the_camera_does_not_explain() -> None:
    matrix = camera_move(HEIGHT, WIDTH, turn=0.02, zoom=1.02, x=5, y=-4)
    first, second = moved_pair(2, HEIGHT, WIDTH, matrix @ shift(3, 1))  # each point moves by (3, 1), and then the camera
    (residual,) = residuals(view(first), view(second), Motion(matrix, 0.0, False))
    wrong = off(residual, (3, 1))
    assert np.median(wrong) < 0.2
    assert wrong[HOLE[residual.region.area]].max() < 1
    assert residuals(view(first), view(second), Motion(matrix @ shift(3, 1), 0.0, False)) == []


def test_where_nothing_moves_there_is_no_flow() -> None:
    picture, _ = planes((0, 0))
    assert residuals(view(picture), view(picture), STILL) == []
    assert residuals(view(noisy(picture, 5, 1)), view(noisy(picture, 5, 2)), STILL) == []


def test_the_noise_of_a_flat_wall_is_no_flow() -> None:
    wall = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    for sigma in (3, 4):
        assert residuals(view(noisy(wall, sigma, 1)), view(noisy(wall, sigma, 2)), STILL) == []


def test_without_a_hole_there_is_nothing_to_do_and_with_nothing_known_nothing_to_see() -> None:
    first, second = planes((4, 0))
    for hole in (np.zeros((HEIGHT, WIDTH), np.bool_), np.ones((HEIGHT, WIDTH), np.bool_)):
        assert residuals(view(first, hole), view(second, hole), STILL) == []


@pytest.mark.parametrize("left", [60, 70, 76])
def test_a_small_passer_by_does_not_bend_the_background_in_the_hole(left: int) -> None:
    thing = texture(9, 14, 14)

    def with_thing(picture: Picture, x: int) -> Picture:
        picture[70:84, x : x + 14] = thing
        return picture

    first, second = planes((4, 1))
    (residual,) = residuals(view(with_thing(first, left)), view(with_thing(second, left - 6)), STILL)
    assert off(residual, (4, 1))[HOLE[residual.region.area]].max() < 1
    first, second = planes((0, 0))
    assert residuals(view(with_thing(first, left)), view(with_thing(second, left - 6)), STILL) == []


def test_each_hole_follows_the_plane_it_lies_in() -> None:
    left, right = planes((4, 0)), planes((-3, 2), seed=5)
    first, second = (np.concatenate([a[:, :120], b[:, 120:]], axis=1) for a, b in zip(left, right, strict=True))
    hole = box(HEIGHT, WIDTH, 60, 40, 30, 30) | box(HEIGHT, WIDTH, 60, 170, 30, 30)
    here, there = residuals(view(first, hole), view(second, hole), STILL)
    assert np.abs(np.median(here.flow, axis=(0, 1)) - (4, 0)).max() < 0.1
    assert np.abs(np.median(there.flow, axis=(0, 1)) - (-3, 2)).max() < 0.1


def test_what_the_holes_hide_is_never_read_nor_shown_to_the_method() -> None:
    first, second = planes((4, 1))
    other = box(HEIGHT, WIDTH, 70, 100, 40, 60)
    shown: list[bytes] = []

    def method(here: NDArray[np.uint8], there: NDArray[np.uint8]) -> NDArray[np.float32]:
        shown.append(here.tobytes() + there.tobytes())
        return dis(here, there)

    rng = np.random.default_rng(3)
    flows = []
    for _ in range(3):
        hidden = rng.integers(0, 256, first.shape, np.uint8)
        pictures = np.where(HOLE[..., None], hidden, first), np.where(other[..., None], hidden, second)
        (residual,) = residuals(view(pictures[0]), view(pictures[1], other), STILL, method)
        flows.append(residual.flow.tobytes())
    assert len(set(shown)) == 1
    assert len(set(flows)) == 1


def test_what_both_frames_hide_is_neither_darker_nor_lighter_than_its_surroundings() -> None:
    first, second = planes((4, 0))
    shown: list[Picture] = []

    def method(here: Picture, there: Picture) -> NDArray[np.float32]:
        shown.append(here)
        return dis(here, there)

    (residual,) = residuals(view(first), view(second), STILL, method)
    hidden = HOLE[residual.region.area]
    smooth = pull_push(shown[0].astype(np.float32), ~hidden)[hidden]
    assert abs(float(np.mean(shown[0][hidden] - smooth))) < 0.05, "cut off and not rounded, it is 0.5"


def test_any_method_can_take_the_place_of_dis() -> None:
    first, second = planes((4, 1))

    def method(here: NDArray[np.uint8], there: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((*here.shape, 2), (4, 1), np.float32)

    (residual,) = residuals(view(first), view(second), STILL, method)
    assert off(residual, (4, 1)).max() < 0.05


def test_dis_on_large_pictures_gives_flow_at_full_size_and_on_tiny_ones_none() -> None:
    canvas = np.asarray(cv2.resize(texture(4, 260, 330), (660, 520), interpolation=cv2.INTER_CUBIC), np.uint8)
    first, second = (np.ascontiguousarray(p[..., 1]) for p in seen_at(canvas, (501, 601), [(9, 9), (3, 5)]))
    flow = dis(first, second)
    assert flow.shape == (501, 601, 2)
    assert np.median(np.abs(flow - np.array([6, 4], np.float32))) < 0.1
    assert not dis(first[:10, :10], second[:10, :10]).any()


@pytest.mark.parametrize(("x", "y"), [(7, -3), (0, 0), (-20, 11)])
@pytest.mark.parametrize("how", [cv2.INTER_LINEAR, cv2.INTER_CUBIC])
def test_whole_pixels_are_brought_over_without_a_change(x: int, y: int, how: int) -> None:
    picture = texture(6, 60, 80)
    region = Region(20, 15, 50, 40)
    assert np.array_equal(warp_region(picture, shift(x, y), region, how), picture[15 + y : 40 + y, 20 + x : 50 + x])


def test_beyond_the_edge_stands_the_edge_or_the_value_asked_for() -> None:
    picture = texture(7, 20, 30)
    region = Region(0, 0, 30, 20)
    assert np.array_equal(warp_region(picture, shift(10, 0), region)[:, 20:], np.repeat(picture[:, -1:], 10, 1))
    assert (warp_region(picture, shift(10, 0), region, outside=255)[:, 21:] == 255).all()
    wider = Region(0, 0, 40, 20)
    assert (warp_region(picture[..., 0], shift(0, 0), wider, outside=9)[:, 31:] == 9).all()


def test_widening_takes_in_the_rim_and_no_more() -> None:
    spot = np.zeros((15, 15), np.bool_)
    spot[7, 7] = True
    wide = widen(spot)
    assert set(np.unique(wide)) == {0, 255}
    y, x = np.mgrid[-7:8, -7:8]
    assert (wide[np.hypot(x, y) <= 2] == 255).all()
    assert (wide[np.maximum(np.abs(x), np.abs(y)) > RIM] == 0).all()
    assert (wide[np.maximum(np.abs(x), np.abs(y)) <= 1] == 255).all(), "a cubic sample beside it would read what is hidden"
