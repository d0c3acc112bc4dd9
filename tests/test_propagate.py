"""Propagation on scenes whose truth is known: what another frame shows comes back, what none shows is made once, scenes stay apart."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import Frames, Hole, Picture, box, by_hand, camera_move, noisy, psnr, seen_at, shift, texture

import framefill
from framefill.families.base import GENERATED, PROPAGATED
from framefill.families.propagate import Propagate
from framefill.families.still import Smooth, smooth

HEIGHT, WIDTH = 60, 80
HOLE = box(HEIGHT, WIDTH, 20, 25, 20, 20)
SMALL = box(HEIGHT, WIDTH, 5, 60, 10, 12)
BOTH = pytest.mark.parametrize("model", ["auto", "propagate"])


@pytest.fixture(autouse=True)
def without_a_net(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What no frame shows is filled smoothly, as where torch is not installed."""
    monkeypatch.setattr("framefill.families.trained.SHIPPED", tmp_path)


def moving(count: int, step: int = 2) -> NDArray[np.bool_]:
    return np.stack([box(HEIGHT, WIDTH, 15, 5 + i * step % 50, 20, 18) for i in range(count)])


def stills_made(frames: Frames, mask: NDArray[np.bool_]) -> tuple[list[int], Frames]:
    """Fill a clip as `auto` does; the sizes in pixels of the holes that had to be made up, and the frames."""
    sizes: list[int] = []

    class Still(Smooth):
        def __call__(self, picture: Picture, hole: Hole) -> Picture:
            sizes.append(int(hole.sum()))
            return smooth(picture, hole)

    filled, _ = by_hand(lambda: Propagate("auto", Still()), frames, mask)
    return sizes, filled.frames


@BOTH
def test_a_fixed_camera_gives_back_exactly_what_another_frame_shows(model: str) -> None:
    frames, mask = np.stack([texture(1, HEIGHT, WIDTH)] * 45), moving(45)
    filled = framefill.inpaint(frames, mask, model)
    assert np.array_equal(filled.frames, frames)
    assert (filled.provenance[mask] == PROPAGATED).all()


def test_only_what_no_frame_shows_is_made_up() -> None:
    frames, mask = np.stack([texture(2, HEIGHT, WIDTH)] * 25), moving(25)
    mask[:, 45:57, 10:70] = True
    for model, mark in (("auto", GENERATED), ("propagate", 0)):
        filled = framefill.inpaint(frames, mask, model)
        assert (filled.provenance[:, 45:57, 10:70] == mark).all()
        assert (filled.provenance[:, :43][mask[:, :43]] == PROPAGATED).all()
        assert np.array_equal(filled.remaining, mask & (filled.provenance == 0))


@pytest.mark.parametrize("step", [(2, 0), (3, 1), (-2, 1)])
@BOTH
def test_a_panning_camera_brings_back_what_passes_the_hole(model: str, step: tuple[int, int]) -> None:
    count = 24
    start = 0 if step[0] > 0 else -step[0] * count
    corners = [(start + step[0] * i, step[1] * i) for i in range(count)]
    frames = seen_at(texture(3, HEIGHT + 30, WIDTH + 80), (HEIGHT, WIDTH), corners)
    mask = np.stack([box(HEIGHT, WIDTH, 20, 30, 20, 16)] * count)
    filled = framefill.inpaint(frames, mask, model)
    assert (filled.provenance[mask] == PROPAGATED).mean() > 0.99
    for truth, made, hidden in zip(frames, filled.frames, mask, strict=True):
        assert psnr(truth[hidden], made[hidden]) > 30


def test_a_camera_that_turns_and_zooms_is_followed() -> None:
    canvas = texture(4, 220, 260)
    step = camera_move(220, 260, turn=0.008, zoom=1.006, x=2.3, y=-0.7)
    frames, matrix = [], np.eye(3)
    for _ in range(24):
        view = cv2.warpPerspective(canvas, matrix, (260, 220), flags=cv2.INTER_CUBIC)
        frames.append(np.asarray(view, np.uint8)[60:160, 70:200])
        matrix = step @ matrix
    mask = np.stack([box(100, 130, 35, 80 - 3 * i, 30, 24) for i in range(24)])
    filled = framefill.inpaint(np.stack(frames), mask, "propagate")
    assert (filled.provenance[mask] == PROPAGATED).mean() > 0.98
    made = mask & ~filled.remaining
    assert psnr(np.stack(frames)[made], filled.frames[made]) > 30


def test_a_passer_by_is_not_smeared_over_the_background() -> None:
    scene, thing = texture(7, HEIGHT, WIDTH), texture(8, 30, 10)
    frames = np.stack([scene] * 30)
    for i, frame in enumerate(frames):
        left = 2 * i
        frame[15:45, left : left + 10] = thing
    mask = np.stack([box(HEIGHT, WIDTH, 18, 30, 22, 14) if 4 <= i < 10 or i >= 24 else np.zeros_like(HOLE) for i in range(30)])
    filled = framefill.inpaint(frames, mask, "auto")
    for i in (4, 5, 6, 7, 24, 25, 26, 27):  # nobody is behind the hole in these frames
        assert psnr(frames[i][mask[i]], filled.frames[i][mask[i]]) > 28


def test_a_change_of_light_between_frames_leaves_no_step() -> None:
    scene, mask = np.clip(texture(9, HEIGHT, WIDTH), 40, 210), moving(30)
    frames = np.stack([np.clip(scene.astype(int) + 3 * (i % 5), 0, 255) for i in range(30)]).astype(np.uint8)
    filled = framefill.inpaint(frames, mask, "auto")
    assert (filled.provenance[mask] == PROPAGATED).all()
    assert np.abs(filled.frames.astype(int) - frames)[mask].max() <= 3
    assert np.abs(filled.frames.astype(int) - frames)[mask].mean() < 0.7


def test_what_no_frame_shows_is_made_once_and_stands_still() -> None:
    frames, mask = np.stack([texture(10, HEIGHT, WIDTH)] * 65), np.stack([HOLE] * 65)
    made, filled = stills_made(frames, mask)
    assert made == [HOLE.sum()]
    assert (filled == filled[0]).all()
    result = framefill.inpaint(frames, mask, "auto")
    assert np.array_equal(result.frames, filled)
    assert (result.provenance[mask] == GENERATED).all()


def test_under_noise_too_it_is_made_once_and_hardly_moves() -> None:
    frames, mask = noisy(np.stack([texture(11, HEIGHT, WIDTH)] * 45), 4), np.stack([HOLE | SMALL] * 45)
    made, filled = stills_made(frames, mask)
    assert made == [(HOLE | SMALL).sum()]
    assert np.abs(np.diff(filled.astype(int), axis=0))[:, HOLE].mean() < 1
    assert np.abs(np.diff(frames.astype(int), axis=0))[:, HOLE].mean() > 4


def test_made_content_moves_with_the_camera() -> None:
    count = 45
    frames = seen_at(texture(12, HEIGHT, WIDTH + count), (HEIGHT, WIDTH), [(i, 0) for i in range(count)])
    mask = np.zeros((count, HEIGHT, WIDTH), np.bool_)
    for i in range(count):
        mask[i, 20:40, max(0, 55 - i) : max(0, 75 - i)] = True  # a thing of the scene, in every frame where it can be seen
    made, filled = stills_made(frames, mask)
    assert made == [400]
    for i in range(1, 40):
        left, right = 55 - i, 75 - i
        moved = filled[i][20:40, max(left, 0) : right].astype(int) - filled[0][20:40, 55 + max(-left, 0) : 75]
        assert np.abs(moved).mean() < 3
        assert np.abs(moved).max() < 25


def test_what_was_made_before_a_gap_is_found_again_after_it() -> None:
    """The camera leaves the hole behind, stays away without anything to fill, and comes back: nothing new is made up."""
    away = [*[0] * 12, *range(3, 40, 3), *[39] * 80, *range(36, -1, -3), *[0] * 14]
    frames = noisy(seen_at(texture(5, HEIGHT, WIDTH + 39), (HEIGHT, WIDTH), [(x, 0) for x in away]), 1)
    mask = np.zeros(frames.shape[:3], np.bool_)
    for hidden, x in zip(mask, away, strict=True):
        hidden[20:36, max(0, 6 - x) : max(0, 22 - x)] = True
    assert not mask[20:104].any()
    made, filled = stills_made(frames, mask)
    assert made == [256]
    assert np.abs(filled[-1][mask[-1]].astype(int) - filled[0][mask[0]]).mean() < 2


@pytest.mark.parametrize(("first", "second"), [(HOLE, HOLE), (SMALL, HOLE), (HOLE, SMALL)], ids=["alike", "larger", "smaller"])
@pytest.mark.parametrize("cut", [13, 20, 33])
def test_each_scene_is_made_up_once_where_there_is_a_cut(cut: int, first: Hole, second: Hole) -> None:
    frames = noisy(np.concatenate([[texture(13, HEIGHT, WIDTH)] * cut, [texture(14, HEIGHT, WIDTH) // 2] * 30]), 2)
    made, _ = stills_made(frames, np.stack([first] * cut + [second] * 30))
    assert sorted(made) == sorted([first.sum(), second.sum()])


def red_and_blue() -> tuple[Picture, Picture]:
    """A scene without blue or green, and one without red."""
    red, blue = texture(15, HEIGHT, WIDTH), texture(16, HEIGHT, WIDTH)
    red[..., 0] = np.clip(red[..., 0], 120, 255)
    red[..., 1:] = 0
    blue[..., 0] = 0
    return red, blue


@pytest.mark.parametrize("cut", [13, 20, 33])
@BOTH
def test_nothing_of_one_scene_comes_into_the_other(model: str, cut: int) -> None:
    red, blue = red_and_blue()
    frames = np.stack([red] * cut + [blue] * 30)
    for masks in (
        [np.zeros_like(HOLE)] * cut + [HOLE] * 30,
        [HOLE] * cut + [np.zeros_like(HOLE)] * 30,
        [SMALL] * cut + [HOLE] * 30,
    ):
        filled = framefill.inpaint(frames, np.stack(masks), model)
        assert not filled.frames[:cut][~filled.remaining[:cut]][:, 2].any()
        assert not filled.frames[cut:][~filled.remaining[cut:]][:, 0].any()


def test_nothing_is_brought_over_a_cut_between_scenes_of_the_same_colours() -> None:
    frames = np.stack([texture(40, 100, 140)] * 12 + [texture(41, 100, 140)] * 12)
    mask = np.stack([np.zeros((100, 140), np.bool_)] * 12 + [box(100, 140, 30, 40, 40, 40)] * 12)
    filled = framefill.inpaint(frames, mask, "propagate")
    assert np.array_equal(filled.remaining, mask)


@pytest.mark.parametrize("gone", [[20], [19, 20], [18, 19, 20, 21]], ids=["one", "two", "four"])
@BOTH
def test_frames_that_are_missing_at_a_cut_do_not_join_the_scenes(model: str, gone: list[int]) -> None:
    red, blue = red_and_blue()
    frames, mask = np.stack([red] * 20 + [blue] * 20), np.stack([SMALL] * 20 + [HOLE] * 20)
    mask[gone] = True
    filled = framefill.inpaint(frames, mask, model)
    for part, other in ((slice(0, gone[0]), 2), (slice(gone[-1] + 1, None), 0)):
        assert not filled.frames[part][~filled.remaining[part]][:, other].any()


def test_frames_that_are_missing_in_a_pan_do_not_stop_it() -> None:
    frames = seen_at(texture(17, HEIGHT, WIDTH + 80), (HEIGHT, WIDTH), [(2 * i, 0) for i in range(30)])
    mask = np.stack([box(HEIGHT, WIDTH, 20, 30, 20, 16)] * 30)
    mask[14:16] = True
    filled = framefill.inpaint(frames, mask, "propagate")
    for i in (*range(14), *range(16, 30)):
        made = mask[i] & ~filled.remaining[i]
        assert made.sum() > 0.9 * mask[i].sum()
        assert psnr(frames[i][made], filled.frames[i][made]) > 28


@pytest.mark.parametrize("hidden_from", [10, 20, 30, 38])
@BOTH
def test_what_was_seen_long_ago_is_not_forgotten(model: str, hidden_from: int) -> None:
    """A place is hidden from a frame on to the end, far beyond the reach: what was seen before is all there is."""
    scene, hole = texture(18, 40, 56), box(40, 56, 12, 18, 14, 16)
    frames, mask = np.stack([scene] * 150), np.zeros((150, 40, 56), np.bool_)
    mask[hidden_from:, 12:26, 18:34] = True
    filled = framefill.inpaint(frames, mask, model)
    assert (filled.provenance[149][hole] == PROPAGATED).all()
    wrong = [i for i in range(150) if not np.array_equal(filled.frames[i], scene)]
    assert wrong == []


def test_a_scene_that_comes_back_is_recognised_wherever_the_camera_looks_now() -> None:
    """A place is seen at the start only; another scene follows; then the camera looks at the first scene again, further right."""
    size = (160, 300)
    first, second = seen_at(texture(19, size[0], size[1] + 150), size, [(0, 0), (150, 0)])
    frames = noisy(np.stack([first] * 5 + [texture(20, *size) // 2] * 55 + [second] * 4), 1)
    mask = np.zeros(frames.shape[:3], np.bool_)
    mask[:20, 140:150, :10] = True  # something to fill in the first window: only then is there a window
    mask[60:, 60:100, 40:90] = True
    filled = framefill.inpaint(frames, mask, "propagate")
    late = mask[60:]
    assert (filled.provenance[60:][late] == PROPAGATED).mean() > 0.98
    assert psnr(frames[60:][late], filled.frames[60:][late]) > 30


def test_far_frames_of_another_scene_are_not_believed_however_many_agree() -> None:
    red, blue = red_and_blue()
    frames, mask = np.stack([red] * 130 + [blue] * 50), np.stack([SMALL] * 130 + [HOLE] * 50)
    filled, states = by_hand(lambda: Propagate("propagate", None), frames, mask)
    assert len(states[-1]["far_indices"]) >= 4
    assert filled.remaining[170][HOLE].all()


def test_what_is_remembered_has_a_bound_and_reaches_from_now_to_the_start() -> None:
    scene = texture(24, 12, 16)
    mask = np.zeros((420, 12, 16), np.bool_)
    mask[:, 5:9, 5:9] = True
    _, states = by_hand(lambda: Propagate("auto", Smooth()), np.stack([scene] * 420), mask)
    sizes = [sum(array.nbytes for array in state.values()) for state in states]
    assert max(sizes[12:]) == sizes[12]
    kept = states[-1]["far_indices"].tolist()
    assert kept[0] == 0
    assert kept[-1] >= 400 - 40
    assert 4 <= len(kept) <= 8
    assert kept == sorted(kept)


def test_a_halo_around_a_hole_is_not_remembered() -> None:
    """Pixels beside a hole are mixed with what it hides; that the hole itself was filled makes them no better."""
    scene, hole, more = texture(27, HEIGHT, WIDTH), box(HEIGHT, WIDTH, 22, 32, 12, 12), box(HEIGHT, WIDTH, 15, 25, 26, 26)
    halo = box(HEIGHT, WIDTH, 21, 31, 14, 14) & ~hole
    frames, mask = np.stack([scene] * 100), np.stack([more] * 100)
    frames[0][halo], mask[0] = (255, 0, 0), hole
    mask[1] = more & ~box(HEIGHT, WIDTH, 20, 30, 16, 16)  # shows the hole's place, and of the halo's only a rim of its own
    filled = framefill.inpaint(frames, mask, "propagate")
    assert not filled.remaining[0].any()
    assert filled.remaining[99][halo].all()
    assert np.array_equal(filled.frames[99][hole], scene[hole])


def test_what_is_out_of_reach_is_forgotten() -> None:
    made: list[Propagate] = []

    def make() -> Propagate:
        made.append(Propagate("auto", Smooth()))
        return made[0]

    by_hand(make, np.stack([texture(28, 12, 16)] * 240), np.stack([box(12, 16, 5, 5, 4, 4)] * 240))
    assert len(made) == 1
    for kept in (made[0]._looked, made[0]._paired):
        assert len(kept) <= made[0].window + 2 * made[0].reach
        assert min(kept) > 100


def test_a_far_frame_is_met_where_the_camera_has_gone_since_the_window_began() -> None:
    """The far frame is found again from one frame of the window; the others are up to nineteen steps of the camera away."""
    start = [0] * 20
    frames = seen_at(texture(25, 80, 160), (80, 120), [(x, 0) for x in [*start, *[38] * 61, *range(38, 0, -2), *start]])
    mask = np.zeros(frames.shape[:3], np.bool_)
    mask[:20, :6, 100:] = True
    for i in range(81, len(frames)):
        x = max(38 - 2 * (i - 81), 0)
        mask[i, 30:50, max(5 - x, 0) : max(30 - x, 0)] = True
    filled = framefill.inpaint(frames, mask, "propagate")
    late = mask[81:]
    assert (filled.provenance[81:][late] == PROPAGATED).mean() > 0.95
    made = late & ~filled.remaining[81:]
    assert psnr(frames[81:][made], filled.frames[81:][made]) > 30


def test_outside_the_frame_stands_what_the_camera_saw_there() -> None:
    canvas = texture(20, HEIGHT, WIDTH + 60)
    frames = seen_at(canvas, (HEIGHT, WIDTH), [(2 * i, 0) for i in range(30)])
    filled = framefill.outpaint(frames, pad=(20, 0, 20, 0))
    assert filled.frames.shape == (30, HEIGHT, WIDTH + 40, 3)
    middle, left = filled.frames[15], 2 * 15 - 20
    assert (filled.provenance[15][:, :16] == PROPAGATED).all()
    assert (filled.provenance[15][:, -16:] == PROPAGATED).all()
    assert psnr(canvas[:, left : left + WIDTH + 40], middle) > 30
    assert np.array_equal(middle[:, 20:-20], frames[15])


def plane(count: int) -> tuple[Frames, NDArray[np.bool_]]:
    """The frame's ground stands still; a wide band with the hole in it moves by 4 pixels a frame."""
    ground, band = texture(5, 100, 140), texture(6, 60, 240)
    frames = np.stack([ground] * count)
    for i, frame in enumerate(frames):
        frame[25:75, 10:130] = band[:50, 4 * i : 4 * i + 120]
    return frames, np.stack([box(100, 140, 40, 55, 18, 18)] * count)


def test_a_plane_that_moves_beside_the_camera_is_followed() -> None:
    frames, mask = plane(20)
    filled = framefill.inpaint(frames, mask, "propagate")
    made = mask & ~filled.remaining
    assert made.sum() > 0.9 * mask.sum()
    assert psnr(frames[made], filled.frames[made]) > 24
    assert psnr(frames[:-1][made[1:]], frames[1:][made[1:]]) < 18, "the case is too easy: standing still is right too"


def test_flow_is_the_same_whatever_opencv_was_told_about_threads() -> None:
    frames, mask = plane(5)
    before, results = cv2.getNumThreads(), []
    try:
        for threads in (1, 2, 5):
            cv2.setNumThreads(threads)
            results.append(by_hand(lambda: Propagate("auto", Smooth()), frames, mask)[0].frames.tobytes())
    finally:
        cv2.setNumThreads(before)
    assert len(set(results)) == 1


def test_a_flow_of_ones_own_takes_the_place_of_dis() -> None:
    calls = []

    def flow(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        calls.append(first.shape)
        return np.zeros((*first.shape, 2), np.float32)

    by_hand(lambda: Propagate("mine", None, flow), *plane(4))
    assert len(calls) == 6  # three pairs, both ways


def test_the_smooth_fill_meets_the_rim_and_reads_nothing_hidden() -> None:
    picture = texture(26, HEIGHT, WIDTH)
    slope = np.broadcast_to((60 + 2 * np.arange(WIDTH)).astype(np.uint8)[None, :, None], picture.shape)
    filled = smooth(np.where(HOLE[..., None], np.uint8(255), slope), HOLE)
    assert np.array_equal(filled[~HOLE], slope[~HOLE])
    assert np.abs(filled.astype(int) - slope)[HOLE].max() < 20
    assert np.array_equal(smooth(np.where(HOLE[..., None], np.uint8(0), picture), HOLE), smooth(picture, HOLE))
    everything = np.ones_like(HOLE)
    assert np.array_equal(smooth(picture, everything), smooth(slope, everything))


def test_a_moved_matrix_is_the_inverse_of_the_camera() -> None:
    """The scenes of these tests are what they claim to be."""
    canvas = texture(23, HEIGHT, WIDTH + 9)
    first, second = seen_at(canvas, (HEIGHT, WIDTH), [(0, 0), (9, 0)])
    assert np.array_equal(cv2.warpPerspective(first, shift(-9, 0), (WIDTH, HEIGHT))[:, : WIDTH - 9], second[:, : WIDTH - 9])
