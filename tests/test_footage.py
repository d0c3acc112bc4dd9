"""Steps from frame to frame: composed forth and back, ended by cuts, followed by single points."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import Frames, Matrix, Picture, box, camera_move, farthest, moved_pair, seen_at, shift, texture

from framefill.motion.flow import Residual
from framefill.motion.footage import Footage, Path, bridge, follow, moved, pair_up, root, sample, widen
from framefill.motion.regions import Region
from framefill.motion.registration import look_at

HEIGHT, WIDTH = 96, 128
CORNERS = [(0, 0), (3, 1), (5, 4), (9, 4), (14, 6), (14, 6), (20, 9)]


def footage_of(frames: Frames) -> Footage:
    hole = box(*frames.shape[1:3], 30, 40, 25, 30)
    blocked = [widen(hole)] * len(frames)
    looks = [look_at(frame, hole) for frame in frames]
    pairs = [pair_up(frames[i], frames[i + 1], (blocked[i], blocked[i + 1]), (looks[i], looks[i + 1])) for i in range(len(frames) - 1)]
    return Footage(frames, blocked, pairs)


@pytest.fixture(scope="module")
def walk() -> Footage:
    return footage_of(seen_at(texture(1, HEIGHT + 20, WIDTH + 30), (HEIGHT, WIDTH), CORNERS))


@pytest.fixture(scope="module")
def two_scenes() -> Footage:
    first, second = texture(2, HEIGHT, WIDTH), texture(3, HEIGHT, WIDTH) // 2
    return footage_of(np.stack([first] * 4 + [second] * 3))


def test_a_pair_knows_the_way_there_and_the_way_back() -> None:
    matrix = camera_move(HEIGHT, WIDTH, turn=0.03, zoom=1.02, x=3)
    pair = footage_of(np.stack(moved_pair(4, HEIGHT, WIDTH, matrix))).pairs[0]
    assert farthest(pair.motion.matrix, matrix, HEIGHT, WIDTH) < 0.2
    assert farthest(pair.back @ pair.motion.matrix, np.eye(3), HEIGHT, WIDTH) < 1e-6
    assert pair.back[2, 2] == 1


def test_a_pair_that_stands_still_stands_exactly_still_both_ways() -> None:
    pair = footage_of(np.stack([texture(5, HEIGHT, WIDTH)] * 2)).pairs[0]
    assert np.array_equal(pair.motion.matrix, np.eye(3))
    assert np.array_equal(pair.back, np.eye(3))
    assert pair.forward_flow == pair.backward_flow == []


def test_steps_add_up_to_where_the_camera_went_and_back_to_nothing(walk: Footage) -> None:
    for start in range(len(CORNERS)):
        for stop in range(len(CORNERS)):
            (x, y), (to_x, to_y) = CORNERS[start], CORNERS[stop]
            there, back = walk.matrix(start, stop), walk.matrix(stop, start)
            assert there is not None
            assert back is not None
            assert farthest(there, shift(x - to_x, y - to_y), HEIGHT, WIDTH) < 0.2
            assert farthest(back @ there, np.eye(3), HEIGHT, WIDTH) < 1e-6
    assert np.array_equal(walk.matrix(4, 5), np.eye(3))


def test_steps_end_at_the_reach_and_at_the_ends(walk: Footage) -> None:
    assert [index for index, _, _ in walk.steps(2, 1, 3)] == [3, 4, 5]
    assert [index for index, _, _ in walk.steps(2, 1, 40)] == [3, 4, 5, 6]
    assert [index for index, _, _ in walk.steps(2, -1, 40)] == [1, 0]
    assert list(walk.steps(6, 1, 40)) == []


def test_a_step_forth_carries_the_flow_forth_and_a_step_back_the_flow_back() -> None:
    back, ahead = texture(6, 140, 180), texture(7, 140, 180)
    frames = seen_at(back, (HEIGHT, WIDTH), [(0, 0), (0, 0)]).copy()
    hole = box(HEIGHT, WIDTH, 30, 40, 25, 30)
    for frame, x in zip(frames, (20, 16), strict=True):
        frame[14:80, 10:110] = ahead[14:80, x : x + 100]  # a plane in front that goes 4 pixels to the right
    footage = footage_of(frames)
    ((_, _, forth),) = footage.steps(0, 1, 9)
    ((_, _, home),) = footage.steps(1, -1, 9)
    for flow, step in ((forth, 4), (home, -4)):
        (residual,) = flow
        assert np.abs(residual.flow[hole[residual.region.area]] - (step, 0)).max() < 1


def test_cuts_end_steps_in_both_directions(two_scenes: Footage) -> None:
    assert [pair.motion.cut for pair in two_scenes.pairs] == [False, False, False, True, False, False]
    assert [index for index, _, _ in two_scenes.steps(2, 1, 40)] == [3]
    assert [index for index, _, _ in two_scenes.steps(5, -1, 40)] == [4]
    assert two_scenes.matrix(2, 5) is None
    assert two_scenes.matrix(5, 2) is None
    assert np.array_equal(two_scenes.matrix(6, 4), np.eye(3))


SMALL = st.floats(-1, 1).map(lambda share: share**3)


@given(turn=SMALL, zoom=SMALL, x=SMALL, y=SMALL, tilt=SMALL, count=st.integers(2, 12))
@settings(max_examples=200, deadline=None)
def test_a_root_of_a_motion_taken_as_often_is_the_motion(turn: float, zoom: float, x: float, y: float, tilt: float, count: int) -> None:
    matrix = camera_move(HEIGHT, WIDTH, turn=turn / 3, zoom=1.3**zoom, x=30 * x, y=20 * y, tilt=tilt * 2e-4)
    rooted, power = root(matrix, count), np.eye(3)
    for _ in range(count):
        power = follow(rooted, power)
    assert farthest(power, matrix, HEIGHT, WIDTH) < 0.05
    assert np.isrealobj(rooted)


@pytest.mark.parametrize("matrix", [np.eye(3), shift(24, -6), shift(24 + 1e-9, 0), shift(9, 3) @ np.diag([1 + 1e-9, 1 + 1e-9, 1])])
def test_roots_of_shifts_are_even_steps(matrix: Matrix) -> None:
    assert np.allclose(root(matrix, 6), np.eye(3) + (matrix - np.eye(3)) / 6, atol=1e-6)


def with_blanks(frames: Frames, blanks: list[int]) -> Footage:
    holes = [np.full(frames.shape[1:3], i in blanks) for i in range(len(frames))]
    blocked, looks = [widen(hole) for hole in holes], [look_at(frame, hole) for frame, hole in zip(frames, holes, strict=True)]
    pairs = [pair_up(frames[i], frames[i + 1], (blocked[i], blocked[i + 1]), (looks[i], looks[i + 1])) for i in range(len(frames) - 1)]
    return Footage(frames, blocked, bridge(pairs, looks))


def test_motion_is_led_evenly_across_frames_that_show_nothing() -> None:
    frames = seen_at(texture(9, HEIGHT, WIDTH + 40), (HEIGHT, WIDTH), [(3 * i, 0) for i in range(10)])
    footage = with_blanks(frames, [3, 4, 5])
    for stop in range(10):
        matrix = footage.matrix(0, stop)
        assert matrix is not None
        assert farthest(matrix, shift(-3 * stop, 0), HEIGHT, WIDTH) < 0.3
        back = footage.matrix(stop, 0)
        assert back is not None
        assert farthest(back @ matrix, np.eye(3), HEIGHT, WIDTH) < 1e-6


def test_a_fixed_camera_stays_exactly_fixed_across_them() -> None:
    footage = with_blanks(np.stack([texture(10, HEIGHT, WIDTH)] * 6), [2, 3])
    assert np.array_equal(footage.matrix(0, 5), np.eye(3))
    assert np.array_equal(footage.matrix(5, 0), np.eye(3))


@pytest.mark.parametrize("blanks", [[4], [3], [3, 4], [2, 3, 4, 5]])
def test_a_cut_among_them_is_a_cut_before_the_frame_after(blanks: list[int]) -> None:
    frames = np.stack([texture(2, HEIGHT, WIDTH)] * 4 + [texture(3, HEIGHT, WIDTH) // 2] * 4)
    footage = with_blanks(frames, blanks)
    assert [i for i, pair in enumerate(footage.pairs) if pair.motion.cut] == [max(blanks)] if 4 in blanks else [3]
    assert footage.matrix(0, 7) is None
    assert footage.matrix(7, 0) is None


def test_frames_that_show_nothing_at_the_ends_or_throughout_lead_nowhere() -> None:
    frames = np.stack([texture(11, HEIGHT, WIDTH)] * 4)
    for blanks in ([0, 1], [2, 3], [0, 1, 2, 3]):
        assert np.array_equal(with_blanks(frames, blanks).matrix(0, 3), np.eye(3))


def test_standing_still_is_followed_without_a_rounding() -> None:
    matrix = camera_move(HEIGHT, WIDTH, turn=0.1, tilt=1e-5)
    assert follow(np.eye(3), matrix) is matrix
    points = np.random.default_rng(0).uniform(0, 99, (50, 2)).astype(np.float32)
    assert moved(points, np.eye(3)) is points
    twice = follow(matrix, matrix)
    assert np.allclose(moved(points, twice), moved(moved(points, matrix), matrix), atol=1e-3)
    assert twice[2, 2] == 1


def test_a_path_without_flow_is_the_composed_homography() -> None:
    steps = [camera_move(HEIGHT, WIDTH, turn=0.02 * i, zoom=1 + 0.01 * i, x=i, tilt=1e-5) for i in range(1, 5)]
    points = np.random.default_rng(1).uniform(0, 99, (200, 2)).astype(np.float32)
    path, matrix = Path(points), np.eye(3)
    for step in steps:
        path.go(step, [])
        matrix = follow(step, matrix)
    assert not path.bent
    assert np.abs(path.points - moved(points, matrix)).max() < 1e-3


def test_a_path_takes_the_flow_where_it_stands_and_then_the_camera() -> None:
    flow = np.zeros((20, 30, 2), np.float32)
    flow[...] = (2, 1)
    residual = Residual(Region(40, 10, 70, 30), flow)
    points = np.array([[50, 20], [41, 11], [90, 80], [35, 20]], np.float32)
    path = Path(points)
    double = np.diag([2.0, 2.0, 1.0])
    path.go(double, [residual])
    assert path.bent
    assert np.allclose(path.points, [[104, 42], [86, 24], [180, 160], [70, 40]], atol=1e-4)


def test_a_path_far_from_all_flow_stays_straight() -> None:
    residual = Residual(Region(40, 10, 70, 30), np.ones((20, 30, 2), np.float32))
    path = Path(np.array([[5, 5], [30, 60]], np.float32))
    path.go(shift(1, 2), [residual])
    assert not path.bent
    assert np.allclose(path.points, [[6, 7], [31, 62]])


@pytest.mark.parametrize("count", [1, 511, 512, 513, 70_000])
def test_any_number_of_points_is_sampled(count: int) -> None:
    picture = texture(8, HEIGHT, WIDTH)
    rng = np.random.default_rng(count)
    x, y = rng.integers(0, WIDTH, count), rng.integers(0, HEIGHT, count)
    points = np.stack([x, y], 1).astype(np.float32)
    for how in (cv2.INTER_LINEAR, cv2.INTER_CUBIC):
        assert np.array_equal(sample(picture, points, how), picture[y, x])
    assert np.array_equal(sample(picture[..., 0].astype(np.float32), points, cv2.INTER_LINEAR), picture[y, x, 0])


def test_samples_between_pixels_are_between_them_and_beyond_the_edge_as_asked() -> None:
    ramp: Picture = np.broadcast_to((np.arange(40, dtype=np.uint8) * 4)[None, :, None], (30, 40, 3)).copy()
    points = np.array([[10.5, 3], [20.25, 7.75], [-9, 5], [60, 5]], np.float32)
    assert np.array_equal(sample(ramp, points, cv2.INTER_LINEAR)[:, 0], [42, 81, 0, 156])
    assert np.array_equal(sample(ramp, points, cv2.INTER_LINEAR, outside=7)[2:], np.full((2, 3), 7))
