"""Global motion against known motions: how far off the found homography is, what is a cut, what stands still, what is never read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import Frames, Hole, Matrix, Picture, box, camera_move, farthest, moved_pair, noisy, seen_at, shift, texture

from framefill.media.video import Video
from framefill.motion.completion import pull_push
from framefill.motion.registration import Look, Motion, look_at, recognise, register

HEIGHT, WIDTH = 240, 432
HOLE = box(HEIGHT, WIDTH, 80, 150, 80, 90)
NO_HOLE = np.zeros((HEIGHT, WIDTH), np.bool_)
MOVES = {
    "turn and zoom": camera_move(HEIGHT, WIDTH, turn=0.02, zoom=1.03, x=4, y=-3, tilt=6e-6),
    "back": camera_move(HEIGHT, WIDTH, turn=-0.03, zoom=0.97, x=-6, y=2),
    "tilt": camera_move(HEIGHT, WIDTH, x=2.4, y=0.3, tilt=-2e-5),
}


def found(first: Picture, second: Picture, hole: Hole = HOLE, other: Hole | None = None) -> Motion:
    return register(look_at(first, hole), look_at(second, hole if other is None else other))


def stands(motion: Motion) -> bool:
    """Whether the camera stands still, exactly."""
    return bool(np.array_equal(motion.matrix, np.eye(3)))


@pytest.mark.parametrize("step", [(3, 2), (1, 0), (-12, 9), (20, 0), (0, -40)])
def test_a_shift_is_found_and_fast_pans_are_no_cut(step: tuple[int, int]) -> None:
    canvas = texture(1, HEIGHT + 100, WIDTH + 100)
    first, second = seen_at(canvas, (HEIGHT, WIDTH), [(50, 50), (50 - step[0], 50 - step[1])])
    motion = found(first, second)
    assert farthest(motion.matrix, shift(*step), HEIGHT, WIDTH) < 0.1
    assert motion.error < 0.5
    assert not motion.cut
    assert not stands(motion)


@pytest.mark.parametrize("matrix", MOVES.values(), ids=list(MOVES))
def test_a_homography_is_found_over_the_whole_frame_and_back(matrix: Matrix) -> None:
    first, second = moved_pair(2, HEIGHT, WIDTH, matrix)
    assert farthest(found(first, second).matrix, matrix, HEIGHT, WIDTH) < 0.1
    assert farthest(found(second, first).matrix, np.linalg.inv(matrix), HEIGHT, WIDTH) < 0.1


def test_a_large_picture_is_registered_small_and_its_matrix_is_for_full_size() -> None:
    height, width = 3 * HEIGHT, 3 * WIDTH
    matrix = camera_move(height, width, turn=0.02, zoom=1.02, x=11, y=-7)
    first, second = moved_pair(3, height, width, matrix, scale=3)
    hole = box(height, width, 240, 450, 240, 270)
    assert look_at(first, hole).grey.shape == (round(height * 640 / width), 640)
    assert farthest(found(first, second, hole).matrix, matrix, height, width) < 0.2
    still = found(first, first, hole)
    assert stands(still)


def test_the_ground_is_followed_and_not_a_thing_that_moves_over_a_fifth_of_it() -> None:
    first, second = moved_pair(4, HEIGHT, WIDTH, MOVES["turn and zoom"])
    thing = texture(5, 140, 150)
    first[60:200, 20:170], second[60:200, 31:181] = thing, thing
    hole = box(HEIGHT, WIDTH, 80, 250, 80, 90)
    # The thing itself is 7 pixels off, and it hides much of the ground.
    assert farthest(found(first, second, hole).matrix, MOVES["turn and zoom"], HEIGHT, WIDTH) < 1


@pytest.mark.parametrize("step", [(0, 0), (5, -3)])
def test_what_the_holes_hide_is_never_read(step: tuple[int, int]) -> None:
    canvas = texture(6, HEIGHT + 20, WIDTH + 20)
    first, second = seen_at(canvas, (HEIGHT, WIDTH), [(10, 10), (10 - step[0], 10 - step[1])])
    other = box(HEIGHT, WIDTH, 100, 180, 90, 80)
    expected = found(first, second, HOLE, other)
    rng = np.random.default_rng(7)
    # A checker of black and white is full of corners, so that a program that looks there does follow it.
    checker = (np.indices((HEIGHT, WIDTH)).sum(0) // 9 % 2 * 255).astype(np.uint8)[..., None]
    for hidden in (checker, rng.integers(0, 256, first.shape, np.uint8), np.uint8(255) - first):
        motion = found(np.where(HOLE[..., None], hidden, first), np.where(other[..., None], hidden, second), HOLE, other)
        assert np.array_equal(motion.matrix, expected.matrix)
        assert (motion.error, motion.cut) == (expected.error, expected.cut)


@pytest.mark.parametrize("large", [1, 3])
def test_a_look_holds_nothing_of_what_is_hidden(large: int) -> None:
    height, width = HEIGHT * large, WIDTH * large
    picture = texture(8, height, width)
    hole = box(height, width, 131, 151, 83, 77)  # odd borders: pixels of a small picture straddle them
    looks = [look_at(np.where(hole[..., None], np.uint8(hidden), picture), hole) for hidden in (0, 128, 255)]
    for field in ("grey", "known", "corners", "histogram"):
        first, *others = (getattr(look, field).tobytes() for look in looks)
        assert all(other == first for other in others), field
    flat = look_at(np.where(hole[..., None], np.uint8(255), np.uint8(90)) * np.ones((1, 1, 3), np.uint8), hole)
    assert np.abs(flat.grey.astype(int) - 90).max() <= 1, "pixels half hidden are mixed with something"


@pytest.mark.parametrize("slope", [0.1, -0.1])
def test_what_stands_in_for_the_hidden_is_neither_darker_nor_lighter(slope: float) -> None:
    columns = np.rint(100 + slope * np.arange(WIDTH))
    picture = np.broadcast_to(columns[None, :, None], (HEIGHT, WIDTH, 3)).astype(np.uint8)
    smooth = pull_push(picture[..., 0].astype(np.float32), ~HOLE)[HOLE]
    assert abs(float(np.mean(look_at(picture, HOLE).grey[HOLE] - smooth))) < 0.05, "cut off and not rounded, it is 0.5"


@pytest.mark.parametrize("sigma", [0, 2, 5, 8])
def test_a_fixed_camera_is_exactly_fixed_however_noisy(sigma: float) -> None:
    picture = texture(9, HEIGHT, WIDTH)
    motion = found(noisy(picture, sigma, 1), noisy(picture, sigma, 2))
    assert stands(motion)
    assert not motion.cut
    assert motion.error <= sigma


def test_a_slow_camera_is_not_taken_for_a_fixed_one() -> None:
    first, second = moved_pair(10, HEIGHT, WIDTH, shift(0.4, 0.2))
    motion = found(noisy(first, 1, 1), noisy(second, 1, 2))
    assert not stands(motion)
    assert farthest(motion.matrix, shift(0.4, 0.2), HEIGHT, WIDTH) < 0.1


@pytest.mark.parametrize("level", [0, 128])
def test_a_picture_without_texture_stands_still(level: int) -> None:
    flat = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
    motion = found(flat, flat)
    assert stands(motion)
    assert not motion.cut


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 3), (7, 5)])
def test_the_smallest_pictures_have_a_motion_too(size: tuple[int, int]) -> None:
    picture = texture(11, 40, 40)[: size[0], : size[1]]
    look = look_at(picture, np.zeros(size, np.bool_))
    assert stands(register(look, look))
    assert recognise(look, look) is None


def test_frames_of_which_nothing_is_known_are_taken_to_stand_still_in_the_same_shot() -> None:
    picture, hidden = texture(12, HEIGHT, WIDTH), np.ones((HEIGHT, WIDTH), np.bool_)
    motion = found(picture, picture, NO_HOLE, hidden)
    assert stands(motion)
    assert not motion.cut


def test_a_place_is_recognised_after_a_motion_too_far_to_follow() -> None:
    canvas = texture(13, HEIGHT, WIDTH + 150)
    first, second = (look_at(picture, HOLE) for picture in seen_at(canvas, (HEIGHT, WIDTH), [(150, 0), (0, 0)]))
    true = shift(150, 0)
    guess = recognise(first, second)
    assert guess is not None
    assert farthest(register(first, second, guess).matrix, true, HEIGHT, WIDTH) < 0.1
    assert farthest(register(first, second).matrix, true, HEIGHT, WIDTH) > 10, "the case is too easy: it is found without a guess"
    assert recognise(first, look_at(texture(14, HEIGHT, WIDTH), HOLE)) is None


def test_a_guess_for_a_large_picture_is_meant_at_full_size() -> None:
    canvas = cv2.resize(texture(15, HEIGHT, WIDTH + 150), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    hole = np.repeat(np.repeat(HOLE, 3, 0), 3, 1)
    pictures = seen_at(np.asarray(canvas, np.uint8), hole.shape, [(450, 0), (0, 0)])
    first, second = (look_at(picture, hole) for picture in pictures)
    guess = recognise(first, second)
    assert guess is not None
    for start in (guess, shift(447, 2)):
        assert farthest(register(first, second, start).matrix, shift(450, 0), *hole.shape) < 0.3
    assert farthest(register(first, second).matrix, shift(450, 0), *hole.shape) > 10, "the case is too easy: no guess is needed"


@pytest.fixture(scope="module")
def clips(city: Path, vtest: Path) -> dict[str, Frames]:
    return {path.stem: Video.read(path).frames for path in (city, vtest)}


def looks(frames: Frames) -> Iterator[Look]:
    for frame in frames:
        yield look_at(frame, np.zeros(frame.shape[:2], np.bool_))


def small(frame: Picture) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.mark.parametrize("name", ["city", "vtest"])
def test_real_clips_have_no_cut_inside_and_only_the_moving_camera_moves(clips: dict[str, Frames], name: str) -> None:
    motions = [register(first, second) for first, second in pairwise(looks(clips[name]))]
    assert not any(motion.cut for motion in motions)
    assert {stands(motion) for motion in motions} == {name == "vtest"}


def test_a_cut_between_real_clips_is_found_in_both_directions(clips: dict[str, Frames]) -> None:
    city, vtest = (list(looks(np.stack([small(frame) for frame in clips[name][::13]]))) for name in ("city", "vtest"))
    for first in city:
        for second in vtest:
            assert register(first, second).cut
            assert register(second, first).cut


def test_a_change_of_light_is_no_cut(clips: dict[str, Frames]) -> None:
    frame = small(clips["vtest"][0])
    darker = np.clip(frame * 0.85 - 5, 0, 255).astype(np.uint8)
    assert not found(frame, darker).cut


def test_a_flicker_that_moves_every_colour_into_another_bin_is_no_cut() -> None:
    dark = (texture(16, HEIGHT, WIDTH) // 64 + 27).astype(np.uint8)
    motion = found(dark, dark + 6)
    assert motion.error > 4
    assert not motion.cut


def test_a_cut_between_scenes_of_the_same_colours_is_found(clips: dict[str, Frames]) -> None:
    frame = small(clips["city"][40])
    for first, second in ((texture(17, HEIGHT, WIDTH), texture(18, HEIGHT, WIDTH)), (frame, frame[:, ::-1]), (frame, frame[::-1])):
        assert found(first, np.ascontiguousarray(second)).cut


def test_noise_alone_is_never_a_cut() -> None:
    picture = texture(19, HEIGHT, WIDTH)
    assert not found(noisy(picture, 20, 1), noisy(picture, 20, 2)).cut


def test_frames_that_show_nothing_in_common_cannot_be_compared() -> None:
    picture, left = texture(20, HEIGHT, WIDTH), box(HEIGHT, WIDTH, 0, 0, HEIGHT, WIDTH // 2)
    assert not found(picture, picture, left, ~left).cut
