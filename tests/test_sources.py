"""Which frames are looked at for a hole, what is taken from them, and how far the rim says they can be trusted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import Frames, Hole, Picture, box, seen_at, shift, texture

from framefill.motion.footage import Footage, Pair, pair_up, widen
from framefill.motion.registration import Motion, look_at
from framefill.motion.sources import KeyFrame, Target, from_key_frames, gather, known_at, rim_error, target_of

HEIGHT, WIDTH = 60, 90
HOLE = box(HEIGHT, WIDTH, 20, 30, 16, 20)
NO_HOLE = np.zeros((HEIGHT, WIDTH), np.bool_)


def still_footage(frames: Frames, holes: list[Hole]) -> Footage:
    pair = Pair(Motion(np.eye(3), 0.0, False), np.eye(3), [], [])
    return Footage(frames, [widen(hole) for hole in holes], [pair] * (len(frames) - 1))


def target_in(footage: Footage, index: int) -> Target:
    return target_of(index, footage.frames[index], footage.blocked[index])


def truth_at(picture: Picture, target: Target) -> NDArray[np.uint8]:
    x, y = target.points.astype(int).T
    return picture[y, x]


def test_a_target_lists_the_hole_with_its_rim_and_surroundings_once() -> None:
    picture = texture(1, HEIGHT, WIDTH)
    target = target_of(3, picture, widen(HOLE))
    x, y = target.points.astype(int).T
    assert len(set(zip(x, y, strict=True))) == len(x)
    assert set(zip(x[target.unknown], y[target.unknown], strict=True)) == {(x, y) for y, x in np.argwhere(widen(HOLE))}
    assert np.array_equal(target.colours, picture[y, x])
    assert np.array_equal(target.place[0] + target.region.top, y)
    assert np.array_equal(target.place[1] + target.region.left, x)
    assert np.count_nonzero(~target.unknown) > 800


def test_a_place_that_one_frame_shows_is_taken_from_it_unchanged() -> None:
    picture = texture(2, HEIGHT, WIDTH)
    footage = still_footage(np.stack([picture] * 9), [HOLE] * 6 + [NO_HOLE] + [HOLE] * 2)
    target = target_in(footage, 2)
    sources = [source for source in gather(footage, target, 40) if source.usable[target.unknown].any()]
    (source,) = sources
    assert source.usable.all()
    assert np.array_equal(source.colours, truth_at(picture, target))
    assert np.abs(source.error).max() < 1e-3
    assert source.nearness == pytest.approx(1 / 4)


def test_frames_are_looked_at_up_to_the_reach_and_no_further() -> None:
    footage = still_footage(np.stack([texture(3, HEIGHT, WIDTH)] * 30), [HOLE] * 25 + [NO_HOLE] * 5)
    target = target_in(footage, 5)
    for reach, found in ((19, False), (20, True)):
        assert any(source.usable[target.unknown].any() for source in gather(footage, target, reach)) is found


def test_both_sides_are_asked_nearest_first_and_a_bounded_number_of_frames() -> None:
    rng = np.random.default_rng(4)
    frames = rng.integers(0, 256, (81, HEIGHT, WIDTH, 3), np.uint8)
    footage = still_footage(frames, [NO_HOLE] * 40 + [HOLE] + [NO_HOLE] * 40)
    sources = gather(footage, target_in(footage, 40), 40)
    for distance in (1, 2, 3):
        assert [source.nearness for source in sources].count(1 / distance) == 2
    assert 6 <= len(sources) <= 40
    half = len(sources) // 2
    for side in (sources[:half], sources[half:]):
        assert [source.nearness for source in side] == sorted((source.nearness for source in side), reverse=True)


def test_a_moving_camera_is_followed_to_where_the_place_is() -> None:
    canvas = texture(5, HEIGHT, WIDTH + 60)
    frames = seen_at(canvas, (HEIGHT, WIDTH), [(4 * i, 0) for i in range(12)])
    blocked, looks = [widen(HOLE)] * 12, [look_at(frame, HOLE) for frame in frames]
    pairs = [pair_up(frames[i], frames[i + 1], (blocked[i], blocked[i + 1]), (looks[i], looks[i + 1])) for i in range(11)]
    footage = Footage(frames, blocked, pairs)
    target = target_in(footage, 3)
    sources = gather(footage, target, 40)
    seen = np.logical_or.reduce([source.usable for source in sources])
    assert seen.all()
    for source in sources:
        wrong = np.abs(source.colours.astype(int) - truth_at(frames[3], target))[source.usable]
        assert wrong.mean() < 2


def test_what_is_unknown_or_outside_is_not_known_anywhere_near() -> None:
    blocked = widen(HOLE)
    points = np.array([[5, 5], [40, 25], [29, 25], [27.6, 25], [27, 25], [-0.6, 5], [0, 0], [WIDTH - 1, HEIGHT - 1], [WIDTH - 0.4, 5]])
    assert known_at(blocked, points.astype(np.float32)).tolist() == [True, False, False, False, True, False, True, True, False]


@pytest.mark.parametrize(("step", "error"), [(0, 0), (10, 100), (30, 900), (90, 1600)])
def test_the_error_on_the_rim_is_the_square_of_the_step_there_up_to_a_cap(step: int, error: float) -> None:
    target = target_of(0, np.full((HEIGHT, WIDTH, 3), 90, np.uint8), widen(HOLE))
    colours = np.full_like(target.colours, 90 + step)
    assert rim_error(colours, target, np.ones(len(colours), np.bool_)) == pytest.approx(error, rel=0.01, abs=0.01)


def test_the_error_is_measured_on_the_rim_alone_and_carried_to_the_near_side_of_the_hole() -> None:
    picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    target = target_of(0, picture, widen(HOLE))
    colours = target.colours.copy()
    left, everywhere = target.points[:, 0] < 40, np.ones(len(colours), np.bool_)
    colours[left] += 20
    colours[target.unknown] = 255
    error = rim_error(colours, target, everywhere)
    near_left, near_right = target.unknown & (target.points[:, 0] < 31), target.unknown & (target.points[:, 0] > 48)
    assert error[near_left].min() > 300
    assert error[near_right].max() < 100
    assert (rim_error(colours, target, target.unknown) == 1600).all(), "a source that shows nothing of the rim cannot be trusted"


def test_a_far_frame_found_from_one_frame_is_met_from_another() -> None:
    canvas = texture(7, HEIGHT, WIDTH + 40)
    frames = seen_at(canvas, (HEIGHT, WIDTH), [(10, 0), (16, 0), (22, 0)])
    step = Pair(Motion(shift(-6, 0), 0.0, False), shift(6, 0), [], [])
    footage = Footage(frames, [widen(HOLE)] * 3, [step, step])
    key = KeyFrame(canvas[:, :WIDTH], widen(NO_HOLE), shift(10, 0), 0, 60)
    for index in range(3):
        target = target_in(footage, index)
        (source,) = from_key_frames(footage, [key], target, target.unknown)
        assert np.array_equal(source.colours[source.usable], truth_at(frames[index], target)[source.usable])
        assert source.usable[target.unknown].all()


def test_a_far_key_frame_gives_what_is_missing_and_is_not_asked_for_more() -> None:
    canvas = texture(6, HEIGHT, WIDTH + 40)
    here, far = seen_at(canvas, (HEIGHT, WIDTH), [(10, 0), (0, 0)])
    footage = still_footage(np.stack([here] * 3), [HOLE] * 3)
    target = target_in(footage, 1)
    keys = [KeyFrame(far, widen(NO_HOLE), shift(10, 0), 2, 60), KeyFrame(far, widen(np.ones_like(HOLE)), shift(10, 0), 2, 90)]
    (source,) = from_key_frames(footage, keys, target, target.unknown)
    assert np.array_equal(source.colours[source.usable], truth_at(here, target)[source.usable])
    assert source.usable[target.unknown].all()
    assert source.nearness == pytest.approx(1 / 60)
    assert from_key_frames(footage, keys, target, np.zeros_like(target.unknown)) == []
