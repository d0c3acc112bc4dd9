"""SSIM against scikit-image, MS-SSIM against torchmetrics, their regions against the map, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_clips import box, noise, picture

from framefill.errors import UsageError
from framefill.evaluation.metrics.structure import VIDEO_INPAINTING_WINDOW, ms_ssim, ssim

TRUTH = np.stack([picture(100, 120, seed) for seed in range(3)])
RESULT = np.clip(TRUTH + np.random.default_rng(9).normal(0, (25.0, 10.0, 3.0), (100, 120, 3, 3)).transpose(3, 0, 1, 2), 0, 255).astype(
    np.uint8
)


def skimage_map(result: np.ndarray, truth: np.ndarray, **settings: float | bool) -> tuple[float, np.ndarray]:
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    mean, plane = structural_similarity(result, truth, channel_axis=-1, full=True, **settings)
    return float(mean), plane


@pytest.mark.parametrize("win_size", [3, 7, 11, 65, 99])
@pytest.mark.parametrize("sample_covariance", [True, False])
def test_ssim_with_a_square_window_equals_scikit_image(win_size: int, sample_covariance: bool) -> None:
    mine = ssim(RESULT, TRUTH, win_size=win_size, sample_covariance=sample_covariance)
    theirs = [
        skimage_map(one, other, win_size=win_size, data_range=255, use_sample_covariance=sample_covariance)[0]
        for one, other in zip(RESULT, TRUTH, strict=True)
    ]
    np.testing.assert_allclose(mine, theirs, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("sigma", "sample_covariance"), [(1.5, True), (1.5, False), (3.0, False)])
def test_ssim_with_a_gaussian_window_equals_scikit_image(sigma: float, sample_covariance: bool) -> None:
    mine = ssim(RESULT, TRUTH, gaussian=True, sigma=sigma, sample_covariance=sample_covariance)
    theirs = [
        skimage_map(one, other, gaussian_weights=True, sigma=sigma, data_range=255, use_sample_covariance=sample_covariance)[0]
        for one, other in zip(RESULT, TRUTH, strict=True)
    ]
    np.testing.assert_allclose(mine, theirs, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("win_size", [7, 65])
def test_ssim_of_floats_is_that_of_bytes(kind: type[np.floating], win_size: int) -> None:
    one, other = RESULT.astype(kind), TRUTH.astype(kind)
    np.testing.assert_allclose(ssim(one, other, win_size=win_size), ssim(RESULT, TRUTH, win_size=win_size), atol=1e-9)
    scaled = ssim(one / 255, other / 255, win_size=win_size, data_range=1)
    np.testing.assert_allclose(scaled, ssim(RESULT, TRUTH, win_size=win_size), atol=1e-6)
    np.testing.assert_allclose(ssim(one, TRUTH, win_size=win_size), ssim(RESULT, TRUTH, win_size=win_size), atol=1e-9)


def test_trap_the_window_is_part_of_the_number() -> None:
    """Tables of video inpainting use 65 pixels; 7 and 11 give less on the same frames."""
    habit, seven, eleven = (ssim(RESULT, TRUTH, win_size=size)[0] for size in (VIDEO_INPAINTING_WINDOW, 7, 11))
    assert habit > eleven + 0.01
    assert eleven > seven


@pytest.mark.parametrize("settings_", [{"win_size": 7}, {"win_size": 65}, {"gaussian": True}])
def test_ssim_of_a_region_is_the_mean_of_scikit_images_map_there(settings_: dict[str, int]) -> None:
    mask = box(3, 100, 120, slice(10, 51), slice(20, 70))
    mask[1] = np.random.default_rng(0).random((100, 120)) < 0.2
    mask[2, 0] = True  # touches the edge
    size = settings_.get("win_size")
    pad = (size or 11) // 2
    expected = []
    for one, other, hole in zip(RESULT, TRUTH, mask, strict=True):
        _, plane = skimage_map(one, other, win_size=size, gaussian_weights=size is None, data_range=255)
        expected.append(plane[pad:-pad, pad:-pad][hole[pad:-pad, pad:-pad]].mean())
    np.testing.assert_allclose(ssim(RESULT, TRUTH, mask, **settings_), expected, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_ssim_of_the_frame_is_the_mean_of_hole_and_outside(seed: int, share: float) -> None:
    truth, result = noise(1, 24, 30, seed), noise(1, 24, 30, seed + 1)
    mask = np.random.default_rng(seed).random((1, 24, 30)) < share
    counts = [np.count_nonzero(where[:, 3:-3, 3:-3]) for where in (mask, ~mask)]
    parts = [np.nan_to_num(ssim(result, truth, where)[0]) for where in (mask, ~mask)]
    assert np.dot(parts, counts) / sum(counts) == pytest.approx(ssim(result, truth)[0], abs=1e-12)


def test_a_region_within_half_a_window_of_the_edge_has_no_ssim() -> None:
    mask = box(3, 100, 120, slice(0, 3), slice(0, 120))
    assert np.isnan(ssim(RESULT, TRUTH, mask)).all()
    mask[1, 3, 60] = True
    assert np.isfinite(ssim(RESULT, TRUTH, mask)[1])


def test_identical_frames_score_one_whatever_their_channels() -> None:
    for channels in (1, 2, 3, 4):
        frames = np.concatenate([TRUTH, TRUTH], axis=-1)[..., :channels]
        np.testing.assert_allclose(ssim(frames, frames), 1, atol=1e-14)
        np.testing.assert_allclose(ssim(frames, frames, gaussian=True), 1, atol=1e-14)


def test_black_against_white_is_the_published_value() -> None:
    """C1 / (1 + C1) with C1 = 1e-4: 9.999e-05 in the table of golden values of common_metrics_on_video_quality."""
    black, white = np.zeros((1, 64, 64, 3)), np.ones((1, 64, 64, 3))
    value = ssim(black, white, gaussian=True, sample_covariance=False, data_range=1)[0]
    assert value == pytest.approx(1e-4 / (1 + 1e-4), rel=1e-12)
    assert f"{value:.3e}" == "9.999e-05"


def test_ms_ssim_equals_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("torchmetrics.functional.image").multiscale_structural_similarity_index_measure
    truth = np.stack([picture(181, 218, seed) for seed in range(2)])  # odd sizes: pooling drops a row
    result = np.clip(truth + np.random.default_rng(1).normal(0, 30, truth.shape), 0, 255).astype(np.uint8)
    tensors = [torch.from_numpy(clip).permute(0, 3, 1, 2).double() for clip in (result, truth)]
    expected = theirs(*tensors, data_range=255.0, reduction="none").numpy()
    np.testing.assert_allclose(ms_ssim(result, truth), expected, atol=1e-8)
    np.testing.assert_allclose(ms_ssim(result / 255, truth / 255, data_range=1), expected, atol=1e-8)


def test_ms_ssim_of_opposite_frames_is_zero_not_nan() -> None:
    truth = picture(176, 176)[None]
    np.testing.assert_array_equal(ms_ssim(255 - truth, truth), [0])


def test_ms_ssim_of_a_region_sees_the_errors_there() -> None:
    truth = picture(192, 192)[None]
    mask = box(1, 192, 192, slice(40, 120), slice(40, 120))
    result = np.where(mask[..., None], picture(192, 192, 5)[None], truth)
    everywhere = np.ones_like(mask)
    np.testing.assert_allclose(ms_ssim(result, truth, everywhere), ms_ssim(result, truth), rtol=1e-12)
    hole, whole, outside = (ms_ssim(result, truth, where)[0] for where in (mask, None, ~mask))
    assert hole < whole < outside
    assert np.isnan(ms_ssim(result, truth, np.zeros_like(mask))).all()


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(UsageError, match="65 pixels does not fit frames of 56x40"):
        ssim(noise(), noise(), win_size=65)
    with pytest.raises(UsageError, match="odd"):
        ssim(noise(), noise(), win_size=8)
    with pytest.raises(UsageError, match="sigma"):
        ssim(noise(), noise(), gaussian=True, sigma=0.1)
    with pytest.raises(UsageError, match="176 x 176"):
        ms_ssim(noise(), noise())
    with pytest.raises(UsageError, match="data_range=1"):
        ssim(noise() / 255, noise() / 255)
