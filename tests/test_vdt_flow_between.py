"""Frames between known ones by flow: closer than a blend where things move, no worse where nothing can be found."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import box, seen_at, texture

from framefill.evaluation.baselines import get_model
from framefill.families.base import Filled, Filler, Span
from framefill.families.flow_between import FlowBetween, Meeting, Way, between, meet
from framefill.families.whole import fill_whole

Frames = NDArray[np.uint8]


def psnr(made: Frames, truth: Frames) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((made.astype(np.float64) - truth) ** 2), 1e-6)))


def faded(first: Frames, second: Frames, time: float) -> Frames:
    return np.rint(first + time * (second.astype(np.float64) - first)).astype(np.uint8)


def hidden_between(frames: Frames, step: int) -> NDArray[np.bool_]:
    mask = np.ones(frames.shape[:3], np.bool_)
    mask[::step] = False
    return mask


def passing(count: int, speed: int) -> Frames:
    """A textured square of 40 pixels that moves over a textured ground which moves the other way."""
    ground, square = texture(1, 120, 260), texture(2, 40, 40)
    frames = seen_at(ground, (120, 160), ((speed * t, 0) for t in range(count)))
    for t in range(count):
        frames[t, 40:80, 20 + 2 * speed * t : 60 + 2 * speed * t] = 255 - square
    return frames


@pytest.mark.parametrize("time", [0.25, 0.5, 0.75])
def test_a_pan_is_met_at_any_time(time: float) -> None:
    frames = seen_at(texture(0, 100, 160), (100, 140), ((2 * t, 0) for t in range(9)))
    made = between(meet(frames[0], frames[8]), time)
    truth = frames[round(8 * time)]
    inside = np.s_[:, 16:-16]  # beyond, one of the two frames does not show it
    assert psnr(made[inside], truth[inside]) > 36
    assert psnr(made, truth) > psnr(faded(frames[0], frames[8], time), truth) + 10


@pytest.mark.parametrize("speed", [2, 4])
def test_what_a_passing_thing_covers_and_uncovers_comes_from_the_picture_that_shows_it(speed: int) -> None:
    frames = np.repeat(texture(1, 120, 160)[None], 3, 0)
    for t in range(3):
        frames[t, 36:84, 20 + speed * t : 68 + speed * t] = 255 - texture(2, 48, 48)
    made, blend = between(meet(frames[0], frames[2]), 0.5), faded(frames[0], frames[2], 0.5)
    assert psnr(made, frames[1]) > psnr(blend, frames[1]) + 6
    behind, ahead = np.s_[40:80, 20 : 20 + speed], np.s_[40:80, 68 + speed : 68 + 2 * speed]  # each shown by one of the two alone
    for place in (behind, ahead):
        assert psnr(made[place], frames[1][place]) > psnr(blend[place], frames[1][place]) + 0.5


def test_what_is_hidden_in_one_picture_has_no_say() -> None:
    # The way from the first picture is not confirmed by the second, which shows something else there: white stays white.
    white, black = np.full((20, 30, 3), 255, np.uint8), np.zeros((20, 30, 3), np.uint8)
    still, none = np.zeros((20, 30, 2), np.float32), np.zeros((20, 30), np.float32)
    ways = {trust: Way(still, none + trust) for trust in (0.0, 1.0)}
    assert np.array_equal(between(Meeting(white, black, ways[0.0], ways[1.0], False), 0.5), np.full_like(white, 128))
    one_sided = Meeting(white, black, ways[0.0], Way(still + 100, none), False)  # the way back leads out of the picture
    assert np.array_equal(between(one_sided, 0.5), white)


def test_backwards_is_the_same_video() -> None:
    frames = passing(3, 3)
    forth, back = between(meet(frames[0], frames[2]), 0.25), between(meet(frames[2], frames[0]), 0.75)
    assert psnr(forth, back) > 38


def test_nothing_moves_nothing_changes() -> None:
    picture = texture(0, 64, 80)
    assert np.array_equal(between(meet(picture, picture), 0.3), picture)


def test_across_a_cut_stands_the_nearer_picture() -> None:
    first, second = texture(0, 120, 160), texture(9, 120, 160)
    meeting = meet(first, second)
    assert meeting.cut
    assert np.array_equal(between(meeting, 0.4), first)
    assert np.array_equal(between(meeting, 0.6), second)


def fillers() -> tuple[Filler, Filler]:
    return FlowBetween(), get_model("average")


@pytest.mark.parametrize("clip", ["city", "vtest"])
@pytest.mark.parametrize(("step", "ahead"), [(2, 2.0), (4, 2.0)])
def test_real_video_is_closer_to_the_truth_than_a_blend(clip: str, step: int, ahead: float, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(clip)
    with av.open(str(path)) as video:
        decoded = [frame.to_ndarray(format="rgb24") for _, frame in zip(range(9), video.decode(video=0), strict=False)]
    frames = np.stack([cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in decoded])
    mask = hidden_between(frames, step)
    scores = []
    for filler in fillers():
        made = fill_whole(frames, mask, filler)
        assert not made.remaining.any()
        scores.append(np.mean([psnr(made.frames[t], frames[t]) for t in range(9) if t % step]))
    assert scores[0] > scores[1] + ahead


def filled(frames: Frames, mask: NDArray[np.bool_]) -> Filled:
    return FlowBetween().fill_span(Span(0, frames, mask, 0, len(frames)), None)[0]


def test_known_pixels_stay_and_hidden_ones_are_not_read() -> None:
    frames = passing(7, 1)
    mask = hidden_between(frames, 3)
    mask[4] = box(120, 160, 10, 20, 50, 60)  # a frame that is known in part
    made, other = filled(frames, mask), filled(np.where(mask[..., None], 255 - frames, frames).astype(np.uint8), mask)
    assert np.array_equal(made.frames, other.frames)
    assert np.array_equal(made.frames[~mask], frames[~mask])
    assert not made.remaining.any()
    assert np.array_equal(made.provenance > 0, mask)
    assert psnr(made.frames[mask], frames[mask]) > 25


def test_what_has_no_known_frame_on_both_sides_is_left() -> None:
    frames = passing(5, 1)
    mask = np.zeros(frames.shape[:3], np.bool_)
    mask[[0, 4]] = True
    mask[2] = True
    made = filled(frames, mask)
    assert made.remaining[[0, 4]].all()
    assert not made.remaining[1:4].any()
    assert filled(frames, np.ones_like(mask)).remaining.all()
    assert not filled(frames, np.zeros_like(mask)).provenance.any()


def test_neither_threads_nor_windows_change_a_byte() -> None:
    frames = np.concatenate([passing(25, 1), passing(6, 2)])
    mask = hidden_between(frames, 6)
    whole = fill_whole(frames, mask, FlowBetween()).frames
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        again = FlowBetween().fill_span(Span(0, frames, mask, 0, len(frames)), None)[0].frames
    finally:
        cv2.setNumThreads(before)
    assert np.array_equal(whole, again)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 40), (17, 33)], ids=str)
def test_small_pictures(size: tuple[int, int]) -> None:
    frames = np.random.default_rng(0).integers(100, 120, (3, *size, 3), np.uint8)
    made = filled(frames, hidden_between(frames, 2)).frames[1]
    assert made.min() >= 85
    assert made.max() <= 135
