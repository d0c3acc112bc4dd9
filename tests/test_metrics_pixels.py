"""Errors of pixels and regions: closed forms, sums that must add up, and the ways in which published masked numbers went wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from metric_clips import Hole, box, noise
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from framefill.errors import MaskMismatch, UsageError
from framefill.evaluation.metrics.pixels import mae, mean_psnr, mse, outside_change, psnr
from framefill.evaluation.metrics.regions import means_over, region
from framefill.media.composite import composite

MASKS = arrays(bool, (2, 9, 11), elements=st.booleans())
ALL = np.ones((3, 40, 56), bool)


@settings(max_examples=60, deadline=None)
@given(mask=MASKS, width=st.integers(1, 5))
def test_rim_is_what_lies_within_its_width_of_the_other_side(mask: Hole, width: int) -> None:
    rims = region(mask, "rim", rim=width)
    assert rims is not None
    for rim, hole in zip(rims, mask, strict=True):
        if hole.all() or not hole.any():
            assert not rim.any()
        else:
            distance = np.where(hole, distance_transform_edt(hole), distance_transform_edt(~hole))
            np.testing.assert_array_equal(rim, distance <= width + 1e-9)


def test_a_rim_follows_a_mask_that_stops_and_moves_on() -> None:
    mask = np.concatenate([box(2, 40, 56, slice(5, 20), slice(5, 20)), box(1, 40, 56, slice(15, 30), slice(30, 50))])
    together, alone = region(mask, "rim", rim=3), [region(one[None], "rim", rim=3) for one in mask]
    assert together is not None
    np.testing.assert_array_equal(together, np.concatenate([one for one in alone if one is not None]))


@settings(max_examples=40, deadline=None)
@given(mask=MASKS)
def test_hole_and_outside_are_all_there_is(mask: Hole) -> None:
    hole, outside = region(mask, "hole"), region(mask, "outside")
    assert hole is not None
    np.testing.assert_array_equal(hole, mask)
    np.testing.assert_array_equal(outside, ~hole)
    assert region(mask, "whole") is None


@settings(max_examples=60, deadline=None)
@given(mask=MASKS, seed=st.integers(0, 99), floats=st.booleans())
@pytest.mark.parametrize("error", [mse, mae])
def test_the_error_of_the_frame_is_that_of_hole_and_outside(error: object, mask: Hole, seed: int, floats: bool) -> None:
    measure = mse if error is mse else mae
    truth, result = noise(2, 9, 11, seed), noise(2, 9, 11, seed + 100)
    one, other = (truth / 255.0, result / 255.0) if floats else (truth, result)
    whole = measure(other, one) * mask[0].size
    parts = [np.nan_to_num(measure(other, one, where)) * where.sum((1, 2)) for where in (mask, ~mask)]
    np.testing.assert_allclose(parts[0] + parts[1], whole, rtol=1e-12)


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_errors_are_the_means_of_numpy(kind: type[np.generic]) -> None:
    truth, result = noise(seed=1), noise(seed=2)
    mask = np.random.default_rng(3).random(truth.shape[:3]) < 0.3
    difference = result.astype(float) - truth
    np.testing.assert_allclose(mse(result.astype(kind), truth), (difference**2).mean((1, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(mae(result, truth.astype(kind)), np.abs(difference).mean((1, 2, 3)), rtol=1e-12)
    inside = [(frame[hole] ** 2).mean() for frame, hole in zip(difference, mask, strict=True)]
    np.testing.assert_allclose(mse(result.astype(kind), truth.astype(kind), mask), inside, rtol=1e-12)


def test_the_sum_of_a_large_frame_of_the_largest_errors_is_exact() -> None:
    black, white = np.zeros((1, 1080, 1920, 3), np.uint8), np.full((1, 1080, 1920, 3), 255, np.uint8)
    assert mse(white, black)[0] == 255**2
    assert psnr(white, black)[0] == 0


@pytest.mark.parametrize("levels", [1, 5, 50])
def test_psnr_of_a_constant_error_is_analytic(levels: int) -> None:
    truth = noise(high=200)
    result = truth + np.uint8(levels)
    expected = 20 * math.log10(255 / levels)
    np.testing.assert_allclose(psnr(result, truth), expected, rtol=1e-13)
    np.testing.assert_allclose(psnr(result / 255, truth / 255, data_range=1), expected, rtol=1e-12)


def test_psnr_equals_scikit_image() -> None:
    peak_signal_noise_ratio = pytest.importorskip("skimage.metrics").peak_signal_noise_ratio
    truth, result = noise(seed=1), noise(seed=2)
    expected = [peak_signal_noise_ratio(one, other, data_range=255) for one, other in zip(truth, result, strict=True)]
    np.testing.assert_allclose(psnr(result, truth), expected, rtol=1e-12)


def test_identical_frames_have_infinite_psnr_and_a_frame_without_hole_none() -> None:
    truth, mask = noise(), box(3, 40, 56, slice(3, 9), slice(4, 8))
    mask[1] = False
    np.testing.assert_array_equal(psnr(truth, truth), [np.inf] * 3)
    np.testing.assert_array_equal(psnr(truth, truth, mask), [np.inf, np.nan, np.inf])
    np.testing.assert_array_equal(mse(truth, truth, mask), [0, np.nan, 0])


def test_trap_masked_psnr_divides_by_samples_not_by_pixels() -> None:
    """iw3's benchmark divides a sum over three channels by a count of pixels: 4.77 dB too low."""
    truth, mask = noise(high=200), box(3, 40, 56, slice(10, 30), slice(10, 40))
    result = np.where(mask[..., None], truth + np.uint8(20), truth)
    right = 20 * math.log10(255 / 20)
    np.testing.assert_allclose(psnr(result, truth, mask), right, rtol=1e-13)
    squares = ((result.astype(float) - truth) ** 2)[mask].sum() / mask.sum()
    assert right - 10 * math.log10(255**2 / squares) == pytest.approx(10 * math.log10(3))
    assert 10 * math.log10(3) == pytest.approx(4.77, abs=0.002)


def test_trap_both_pictures_are_masked() -> None:
    """VPBench zeroes the hole in one picture only, and so measures how bright the truth is; the right number cannot see outside."""
    truth, mask = noise(low=100), box(3, 40, 56, slice(10, 30), slice(10, 40))
    result = np.where(mask[..., None], truth - np.uint8(9), truth)
    inside = psnr(result, truth, mask)
    np.testing.assert_allclose(inside, 20 * math.log10(255 / 9), rtol=1e-13)
    elsewhere = np.where(mask[..., None], result, noise(seed=7))
    np.testing.assert_array_equal(psnr(elsewhere, truth, mask), inside)
    np.testing.assert_array_equal(psnr(result, np.where(mask[..., None], truth, np.uint8(0)), mask), inside)
    np.testing.assert_array_equal(psnr(result, truth, ~mask), [np.inf] * 3)
    one_sided = psnr(np.where(mask[..., None], np.uint8(0), result), truth)
    assert (one_sided < inside - 10).all()


def test_floor_gives_the_number_of_iw3() -> None:
    truth = noise(high=200) / 255
    result = truth + 0.01
    np.testing.assert_allclose(psnr(result, truth, data_range=1, floor=1e-6), 10 * math.log10(1 / (1e-4 + 1e-6)), rtol=1e-10)
    np.testing.assert_allclose(psnr(truth, truth, data_range=1, floor=1e-6), 60, rtol=1e-12)


def test_trap_one_perfect_frame_makes_the_mean_infinite_unless_a_rule_says_otherwise() -> None:
    values = np.array([30.0, 40.0, np.inf, np.nan])
    assert mean_psnr(values, "keep") == np.inf
    assert mean_psnr(values, "skip") == 35
    assert mean_psnr(values, "cap", cap=50) == 40
    assert mean_psnr(values, "cap", cap=35) == pytest.approx(100 / 3)
    assert mean_psnr(values[2:], "skip") == np.inf
    assert math.isnan(mean_psnr(values[3:], "keep"))
    with pytest.raises(UsageError, match="keep, skip, cap"):
        mean_psnr(values, "drop")  # type: ignore[arg-type]


def test_outside_change_is_zero_after_composite_and_names_the_worst_sample() -> None:
    given_, made, mask = noise(seed=1), noise(seed=2), box(3, 40, 56, slice(10, 30), slice(10, 40))
    filled = np.stack([composite(*frames) for frames in zip(given_, made, mask, strict=True)])
    np.testing.assert_array_equal(outside_change(filled, given_, mask), np.zeros((2, 3)))
    filled[1, 0, 0, 2] = given_[1, 0, 0, 2] ^ 64
    change = outside_change(filled, given_, mask)
    np.testing.assert_array_equal(change.max, [0, 64, 0])
    np.testing.assert_allclose(change.mean, [0, 64 / (3 * (~mask[1]).sum()), 0])
    np.testing.assert_array_equal(outside_change(filled, given_, ALL), np.full((2, 3), np.nan))


def test_torch_tensors_are_taken_as_they_are() -> None:
    torch = pytest.importorskip("torch")
    truth, result, mask = noise(seed=1), noise(seed=2), box(3, 40, 56, slice(10, 30), slice(10, 40))
    given_ = [torch.from_numpy(array) for array in (result, truth, mask)]
    np.testing.assert_array_equal(psnr(*given_), psnr(result, truth, mask))
    with_gradient = given_[0].float().requires_grad_()
    np.testing.assert_array_equal(psnr(with_gradient, given_[1].float(), mask), psnr(result, truth, mask))
    rims = region(given_[2], "rim")
    np.testing.assert_array_equal(rims, region(mask, "rim"))


@pytest.mark.parametrize(
    ("frames", "data_range", "says"),
    [
        (noise() / 255, 255.0, "pass data_range=1"),
        (noise().astype(np.float32), 1.0, "not within 0 .. 1"),
        (noise() / 127.5 - 1, 1.0, "from -1 to 1"),
        (noise(), 1.0, "not within 0 .. 1"),
        (np.full((1, 4, 4, 3), np.nan), 1.0, "nan"),
    ],
)
def test_trap_frames_in_another_range_are_refused(frames: NDArray[np.generic], data_range: float, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        psnr(frames, frames, data_range=data_range)


def test_a_black_float_clip_is_in_every_range() -> None:
    black = np.zeros((2, 8, 8, 3), np.float32)
    assert (psnr(black, black) == np.inf).all()
    assert (psnr(black, black, data_range=1) == np.inf).all()


def test_sizes_and_types_that_do_not_fit_are_named() -> None:
    truth = noise()
    with pytest.raises(UsageError, match="3x40x56x3 and 2x40x56x3"):
        mse(truth, truth[:2])
    with pytest.raises(UsageError, match="T H W C"):
        mse(truth[0], truth[0])
    with pytest.raises(UsageError, match="int32"):
        mse(truth.astype(np.int32), truth.astype(np.int32))
    with pytest.raises(MaskMismatch, match="uint8"):
        mse(truth, truth, ALL.astype(np.uint8))
    with pytest.raises(MaskMismatch, match="2x40x56"):
        mse(truth, truth, ALL[:2])
    with pytest.raises(UsageError, match="whole, hole, outside, rim"):
        region(ALL, "edge")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least 1"):
        region(ALL, "rim", rim=0)
    with pytest.raises(MaskMismatch, match="bool"):
        region(ALL[0], "hole")


def test_means_over_maps_take_the_region_or_everything() -> None:
    maps = np.random.default_rng(0).random((3, 5, 7))
    where = maps > 0.5
    where[2] = False
    np.testing.assert_allclose(means_over(maps), maps.mean((1, 2)))
    np.testing.assert_allclose(means_over(maps, where), [maps[0][where[0]].mean(), maps[1][where[1]].mean(), np.nan])
