"""Metrics along time: clips with a known motion, flicker or error, flows that are exact, and the scales of published tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from metric_clips import Clip, box, noise, panning, picture
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from framefill.errors import UsageError
from framefill.evaluation.metrics.consistency import consecutive, to_first, to_source
from framefill.evaluation.metrics.editing import first_frame_fidelity, motion_agreement
from framefill.evaluation.metrics.flow import Motion, carry, dis, flows, motion_of, visible
from framefill.evaluation.metrics.perceptual import lpips
from framefill.evaluation.metrics.temporal import EWARP_SCALES, flicker, printed_ewarp, tlpips, tof, warping_error

Field = NDArray[np.float32]


def constant(right: float, down: float, height: int = 64, width: int = 96) -> Field:
    return np.broadcast_to(np.float32([right, down]), (height, width, 2)).copy()


def pan(right: int, down: int) -> Callable[[Clip, Clip], Field]:
    """A flow method that knows the answer, and sees from the pictures which way the pan goes."""

    def flow(first: Clip, second: Clip) -> Field:
        errors = {
            sign: np.abs(np.subtract(np.roll(first, (sign * down, sign * right), (0, 1)), second, dtype=float)).mean() for sign in (1, -1)
        }
        return constant(right, down) * min(errors, key=errors.__getitem__)

    return flow


def each(*fields: Field) -> Callable[[Clip, Clip], Field]:
    """A flow method that gives these fields one after the other."""
    remaining = iter(fields)

    def flow(first: Clip, second: Clip) -> Field:
        return next(remaining)

    return flow


def known_motion(frames: int, right: float, down: float) -> Motion:
    forward = np.stack([constant(right, down)] * (frames - 1))
    return Motion(forward, np.stack([visible(field, -field) for field in forward]))


def absolute(one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.float64]:
    """A stand-in for LPIPS: the mean absolute difference of the channels."""
    return np.abs(np.subtract(one, other, dtype=np.float64)).mean(-1)


def test_carrying_along_a_flow_is_bilinear_and_exact() -> None:
    generator = np.random.default_rng(0)
    frame, field = generator.random((40, 50, 3), np.float32), generator.normal(0, 3, (40, 50, 2)).astype(np.float32)
    y, x = np.mgrid[:40, :50]
    places = [y + field[..., 1].astype(float), x + field[..., 0].astype(float)]
    expected = np.stack([map_coordinates(frame[..., c].astype(float), places, order=1, mode="nearest") for c in range(3)], -1)
    np.testing.assert_allclose(carry(frame, field), expected, atol=5e-6)


def test_dis_finds_a_pan_and_nothing_on_a_still() -> None:
    still = np.stack([picture(64, 96)] * 3)
    assert not flows(still, dis).any()
    field = flows(panning(2, right=2, down=1), dis)[0]
    np.testing.assert_allclose(np.median(field, (0, 1)), [2, 1], atol=0.05)
    with pytest.raises(UsageError, match="16 x 16"):
        dis(still[0, :12], still[0, :12])


def test_what_is_covered_next_is_not_visible() -> None:
    forward, backward = np.zeros((40, 60, 2), np.float32), np.zeros((40, 60, 2), np.float32)
    forward[10:30, 20:40] = backward[10:30, 24:44] = (4, 0)  # a box moves 4 pixels to the right
    backward *= -1
    expected = np.ones((40, 60), bool)
    expected[10:30, 40:44] = False  # the background that it covers
    np.testing.assert_array_equal(visible(forward, backward, boundaries=False), expected)
    torn = visible(forward, backward)
    assert not torn[10:30, [19, 20]].any()  # either side of the tear
    assert not torn[[9, 29], 25:35].any()
    assert torn[12:28, 22:38].all()
    assert torn[:8].all()


def test_the_threshold_of_the_forward_backward_check() -> None:
    """|w + v|^2 < 0.01 (|w|^2 + |v|^2) + 0.5 for w = 10, v = -10 + e turns at e^2 = 0.01 (100 + (10 - e)^2) + 0.5."""
    turns = (-0.2 + np.sqrt(0.04 + 4 * 0.99 * 2.5)) / (2 * 0.99)
    for error, seen in ((turns - 1e-3, True), (turns + 1e-3, False)):
        middle = visible(constant(10, 0), constant(-10 + error, 0))[32, 40]
        assert middle == seen


def test_pixels_that_leave_the_frame_are_not_visible() -> None:
    seen = visible(constant(3, -2), constant(-3, 2))
    assert seen[2:, :-3].all()
    assert not seen[:2].any()
    assert not seen[:, -3:].any()


def test_warping_error_of_a_static_clip_is_zero() -> None:
    still = np.stack([noise(1, 64, 96)[0]] * 4)
    np.testing.assert_array_equal(warping_error(still, still), [0, 0, 0])


def test_warping_error_of_a_pan_is_zero_along_its_own_motion_and_not_along_none() -> None:
    clip = panning(5, right=3, down=-1)
    np.testing.assert_allclose(warping_error(clip, clip, flow=pan(3, -1)), 0, atol=1e-12)
    np.testing.assert_allclose(warping_error(clip, known_motion(5, 3, -1)), 0, atol=1e-12)
    by_dis, still = warping_error(clip, clip), warping_error(clip, known_motion(5, 0, 0))
    assert (by_dis < 1e-4).all()
    assert (still > 20 * by_dis).all()


def test_warping_error_of_a_change_of_brightness_is_analytic() -> None:
    clip = panning(4, right=2).astype(int) // 2
    for frame, more in enumerate((0, 10, 10, 25)):
        clip[frame] += more
    result = clip.astype(np.uint8)
    expected = np.square([10 / 255, 0, 15 / 255])
    np.testing.assert_allclose(warping_error(result, known_motion(4, 2, 0)), expected, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(warping_error(result / 255, known_motion(4, 2, 0), data_range=1), expected, rtol=1e-5, atol=1e-12)


def test_warping_error_counts_the_region_and_leaves_out_what_is_hidden() -> None:
    truth = np.stack([picture(64, 96)] * 3)
    result, hole = truth.copy(), box(3, 64, 96, slice(10, 30), slice(20, 60))
    result[1][hole[1]] = truth[1][hole[1]] // 2 + 60
    motion = motion_of(truth)
    share = hole[0].mean()
    np.testing.assert_allclose(warping_error(result, motion, hole) * share, warping_error(result, motion), rtol=1e-6)
    np.testing.assert_array_equal(warping_error(result, motion, ~hole), [0, 0])
    hidden = Motion(motion.forward, motion.visible & ~hole[:2])
    np.testing.assert_array_equal(warping_error(result, hidden), [0, 0])
    np.testing.assert_array_equal(warping_error(result, hidden, hole), [np.nan, np.nan])


def test_trap_the_scale_of_the_warping_error() -> None:
    """E2FGVI's 0.1315 and ProPainter's 1.315 are one number; TokenFlow and StableV2V are a hundred apart."""
    assert printed_ewarp(1.315e-3, "E2FGVI") == pytest.approx(0.1315)
    assert printed_ewarp(1.315e-3, "ProPainter") == pytest.approx(1.315)
    assert printed_ewarp(1.315e-3, "plain") == 1.315e-3
    assert EWARP_SCALES["TokenFlow"] / EWARP_SCALES["StableV2V"] == pytest.approx(100)
    with pytest.raises(UsageError, match="E2FGVI, ProPainter"):
        printed_ewarp(1, "FGVC")


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (12, 200, 77)])
def test_flicker_of_a_static_clip_of_any_colour_is_zero(colour: tuple[int, int, int]) -> None:
    clip = np.broadcast_to(np.uint8(colour), (5, 20, 30, 3))
    np.testing.assert_array_equal(flicker(clip), [np.nan, 0, 0, 0, np.nan])


def test_flicker_of_an_even_fade_is_zero_and_of_alternation_its_height() -> None:
    levels = np.broadcast_to(np.arange(10, 15, dtype=np.uint8)[:, None, None, None], (5, 20, 30, 3))
    np.testing.assert_array_equal(flicker(levels)[1:-1], 0)
    alternating = np.where(np.arange(6)[:, None, None, None] % 2, np.uint8(90), np.full((6, 20, 30, 3), 60, np.uint8))
    np.testing.assert_array_equal(flicker(alternating)[1:-1], 30)
    np.testing.assert_array_equal(flicker(alternating / 255.0)[1:-1].round(6), round(30 / 255, 6))


def test_flicker_beyond_the_truths() -> None:
    truth, hole = noise(6, 20, 30, low=50, high=200), box(6, 20, 30, slice(5, 15), slice(5, 25))
    np.testing.assert_array_equal(flicker(truth, truth, hole)[1:-1], 0)
    shifted = truth + np.uint8(40)  # wrong, and as steady as the truth
    np.testing.assert_array_equal(flicker(shifted, truth, hole)[1:-1], 0)
    still = np.stack([truth[0]] * 6)
    flickering = np.where(hole[..., None], still + (np.arange(6, dtype=np.uint8) % 2 * 8)[:, None, None, None], still)
    np.testing.assert_array_equal(flicker(flickering, still, hole)[1:-1], 8)
    np.testing.assert_array_equal(flicker(flickering, still, ~hole)[1:-1], 0)
    assert (flicker(still, truth, hole)[1:-1] < 0).all()
    hole[2] = False
    assert np.isnan(flicker(flickering, still, hole)[2])


def test_tof_is_the_distance_of_the_motions() -> None:
    truth, faster = panning(4, right=1), panning(4, right=3)
    np.testing.assert_array_equal(tof(truth, truth), 0)
    # The middle, where both scenes stay in view and DIS is sure of both pans.
    middle = box(4, 64, 96, slice(16, 48), slice(24, 72))
    np.testing.assert_allclose(tof(faster, truth, middle), 2, atol=0.1)
    one, other = constant(1, 0), constant(1, 4)
    np.testing.assert_array_equal(tof(truth, faster, flow=each(one, one, one, one, other, one)), [0, 4, 0])


def test_tlpips_is_the_difference_of_the_changes() -> None:
    truth = noise(1, 20, 30, high=100).repeat(4, 0)
    result = truth + np.uint8([0, 6, 6, 2])[:, None, None, None]
    np.testing.assert_allclose(tlpips(result, truth, absolute), [6, 0, 4])
    np.testing.assert_array_equal(tlpips(result, result, absolute), 0)
    where = box(4, 20, 30, slice(2, 9), slice(3, 9))
    where[1] = False
    np.testing.assert_allclose(tlpips(result, truth, absolute, where), [6, np.nan, 4])


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_lpips_is_the_mean_of_the_networks_map_over_the_region(batch: int) -> None:
    truth, result = noise(5, seed=1), noise(5, seed=2)
    where = box(5, 40, 56, slice(3, 30), slice(7, 20))
    where[1] = where[3] = False
    seen: list[int] = []

    def counted(one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.float64]:
        seen.append(len(one))
        return absolute(one, other)

    maps = absolute(result, truth)
    np.testing.assert_allclose(lpips(result, truth, counted, batch=batch), maps.mean((1, 2)))
    assert sum(seen) == 5
    assert max(seen) <= batch
    seen.clear()
    expected = [maps[t][where[t]].mean() if where[t].any() else np.nan for t in range(5)]
    np.testing.assert_allclose(lpips(result, truth, counted, where, batch=batch), expected)
    assert sum(seen) == 3  # frames without the region cost nothing
    with pytest.raises(UsageError, match="one value a pixel"):
        lpips(result, truth, lambda one, other: absolute(one, other).mean((1, 2)))


def test_consistency_is_the_cosine_of_rows_of_any_length() -> None:
    rows = np.array([[1, 0, 0], [3, 0, 0], [1, 1, 0], [0, 0, -2], [0, 0, 0]], float)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(consecutive(rows), [1, half, 0, np.nan], atol=1e-15)
    np.testing.assert_allclose(to_first(rows), [np.nan, 1, half, 0, np.nan], atol=1e-15)
    np.testing.assert_allclose(to_source(-rows, rows), [-1, -1, -1, -1, np.nan], atol=1e-15)
    np.testing.assert_allclose(to_source(rows, rows[:1]), [1, 1, half, 0, np.nan], atol=1e-15)
    with pytest.raises(UsageError, match="one network"):
        to_source(rows, rows[:2])
    with pytest.raises(UsageError, match="infinity"):
        consecutive(np.full((2, 2), np.inf))


def test_an_edit_that_moves_as_its_source_agrees_with_it() -> None:
    source = panning(4, right=3, down=1)
    recoloured = 255 - source[..., ::-1]  # another look, the same motion
    middle = box(4, 64, 96, slice(16, 48), slice(24, 72))
    agreement = motion_agreement(source, recoloured, middle)
    assert (agreement.cosine > 0.99).all()
    assert (agreement.endpoint < 0.2).all()
    # The middle pair of a reversed pan: the scene goes the other way.
    reverse = motion_agreement(source, source[::-1], middle)
    assert (reverse.cosine < -0.98).all()
    np.testing.assert_allclose(reverse.endpoint, 2 * np.sqrt(10), atol=0.2)
    still = motion_agreement(source, source[:1].repeat(4, 0), middle)
    np.testing.assert_array_equal(still.cosine, 0)
    np.testing.assert_allclose(still.endpoint, np.sqrt(10), atol=0.1)


def test_motion_agreement_counts_only_where_the_source_moves() -> None:
    clip = panning(2)
    moving, other = constant(0, 0), constant(0, 5)
    moving[:, :20] = (2, 0)
    other[:, :20] = (2, 2)
    agreement = motion_agreement(clip, clip, flow=each(moving, other))
    np.testing.assert_allclose([agreement.cosine[0], agreement.endpoint[0]], [np.sqrt(0.5), 2])
    nowhere = motion_agreement(clip, clip, flow=each(constant(0.5, 0), constant(2, 0)))
    assert np.isnan([*nowhere.cosine, *nowhere.endpoint]).all()


def test_first_frame_fidelity_looks_at_the_first_frame_alone() -> None:
    clip = panning(3)
    assert first_frame_fidelity(clip, clip[0]) == (np.inf, pytest.approx(1))
    worse = first_frame_fidelity(clip, clip[0] // 2 + 40)
    assert worse.psnr < 30
    assert worse.ssim < 0.99
    with pytest.raises(UsageError, match="H x W x C"):
        first_frame_fidelity(clip, clip)


def test_flow_needs_three_channels_and_a_motion_of_the_results_size() -> None:
    clip = panning(3)
    with pytest.raises(UsageError, match="3 channels"):
        tof(clip[..., :1], clip[..., :1])
    with pytest.raises(UsageError, match="5x64x96 frames, the result of 3x64x96"):
        warping_error(clip, known_motion(5, 1, 0))
