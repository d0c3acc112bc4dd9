"""Procedural clips: their truth is held against their pixels, not against the formulas that made both."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.media.synthetic import Scene, make_clip, make_scene

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


def scene(seed: int, T: int = 6, H: int = 64, W: int = 64, lighting: float = 0.0) -> Scene:
    return make_scene(np.random.default_rng(seed), T, H, W, lighting)


def sampled(picture: NDArray[np.generic], x: Floats, y: Floats, how: int = cv2.INTER_LINEAR) -> NDArray[np.generic]:
    return cv2.remap(picture, x.astype(np.float32), y.astype(np.float32), how, borderMode=cv2.BORDER_REPLICATE)


def near_rim(objects: NDArray[np.uint8], reach: int) -> Flags:
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return cv2.dilate(objects, kernel) != cv2.erode(objects, kernel)


def seen_again(here: NDArray[np.uint8], there: NDArray[np.uint8], x: Floats, y: Floats) -> Flags:
    """Pixels whose point is in sight in the other picture too, away from the soft rims of things."""
    height, width = here.shape
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    same = sampled(there, x, y, cv2.INTER_NEAREST) == here
    rim = near_rim(here, 1) | (sampled(near_rim(there, 2).astype(np.uint8), x, y, cv2.INTER_NEAREST) > 0)
    return inside & same & ~rim


def grid(height: int, width: int) -> tuple[Floats, Floats]:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return x, y


@pytest.mark.parametrize("seed", range(8))
def test_flow_leads_to_the_same_point_of_the_next_frame(seed: int) -> None:
    made = scene(seed)
    x, y = grid(64, 64)
    for t in range(5):
        to_x, to_y = x + made.flow[t, ..., 0], y + made.flow[t, ..., 1]
        seen = seen_again(made.objects[t], made.objects[t + 1], to_x, to_y)
        assert seen.mean() > 0.3
        warped = sampled(made.frames[t + 1], to_x, to_y).astype(float)
        assert np.abs(warped - made.frames[t])[seen].mean() < 1.6  # two roundings and one interpolation


def test_flow_is_exact_to_a_fraction_of_a_pixel() -> None:
    """Moving the flow by a quarter of a pixel in any direction makes it worse, over many scenes together."""
    errors = {shift: [] for shift in ((0, 0), (0.25, 0), (-0.25, 0), (0, 0.25), (0, -0.25))}
    x, y = grid(96, 128)
    for seed in range(12):
        made = scene(seed, 2, 96, 128)
        flow = made.flow[0]
        for (right, down), found in errors.items():
            to_x, to_y = x + flow[..., 0] + right, y + flow[..., 1] + down
            seen = seen_again(made.objects[0], made.objects[1], x + flow[..., 0], y + flow[..., 1])
            found.append(np.abs(sampled(made.frames[1], to_x, to_y).astype(float) - made.frames[0])[seen].mean())
    means = {shift: float(np.mean(found)) for shift, found in errors.items()}
    exact = means.pop((0, 0))
    assert all(exact < 0.75 * other for other in means.values()), (exact, means)


@pytest.mark.parametrize("seed", range(4))
def test_other_eye_shows_each_point_shifted_by_its_disparity(seed: int) -> None:
    made = scene(seed, 3, 64, 96)
    x, y = grid(64, 96)
    for t in range(3):
        to_x = x - made.disparity[t]
        # what the other eye sees there is nearer to this pixel's colour than what stands at the same place
        inside = (to_x >= 0) & ~near_rim(made.objects[t], 4)
        shifted = np.abs(sampled(made.other_eye[t], to_x, y).astype(float) - made.frames[t]).mean(axis=2)
        assert np.median(shifted[inside]) < 1.5
    assert made.disparity.min() > 0


def test_near_things_have_more_disparity_and_cover_far_ones() -> None:
    for seed in range(6):
        made = scene(seed, 4)
        for number in np.unique(made.objects)[1:]:
            mine, behind = made.depth[made.objects == number], made.depth[made.objects == number - 1]
            if len(behind):
                assert mine.max() < behind.min()
        product = made.disparity * made.depth  # focal length times baseline: one number a frame
        spread = product.max(axis=(1, 2)) - product.min(axis=(1, 2))
        assert (spread < 1e-3 * product.mean(axis=(1, 2))).all()


def test_shapes_and_kinds() -> None:
    made = scene(3, 5, 40, 56, lighting=1)
    assert made.frames.shape == made.other_eye.shape == (5, 40, 56, 3)
    assert made.frames.dtype == made.other_eye.dtype == made.objects.dtype == np.uint8
    assert made.flow.shape == (4, 40, 56, 2)
    assert made.depth.shape == made.objects.shape == made.disparity.shape == (5, 40, 56)
    assert made.flow.dtype == made.depth.dtype == made.disparity.dtype == np.float32
    assert np.isfinite(made.flow).all()
    assert made.depth.min() > 0.5


@pytest.mark.parametrize(("T", "H", "W"), [(1, 1, 1), (1, 32, 48), (3, 7, 64), (2, 64, 5)])
def test_any_size(T: int, H: int, W: int) -> None:
    made = make_scene(np.random.default_rng(0), T, H, W)
    assert made.frames.shape == (T, H, W, 3)
    assert made.flow.shape == (T - 1, H, W, 2)


@pytest.mark.parametrize(("T", "H", "W"), [(0, 8, 8), (4, 0, 8), (4, 8, -1)])
def test_refuses_sizes_below_one(T: int, H: int, W: int) -> None:
    with pytest.raises(UsageError, match="expected 1 or more"):
        make_clip(np.random.default_rng(0), T, H, W)


def test_same_state_same_clip_and_the_clip_alone_is_the_scene() -> None:
    first, second = scene(5, lighting=1), scene(5, lighting=1)
    assert all(np.array_equal(getattr(first, name), getattr(second, name)) for name in vars(first))
    assert np.array_equal(make_clip(np.random.default_rng(5), 6, 64, 64, 1), first.frames)
    assert not np.array_equal(scene(6, lighting=1).frames, first.frames)


def test_light_changes_colours_and_nothing_else() -> None:
    dark, lit = scene(2, 12), scene(2, 12, lighting=1)
    assert np.array_equal(dark.flow, lit.flow)
    assert np.array_equal(dark.objects, lit.objects)
    assert np.abs(dark.frames.astype(int) - lit.frames).mean() > 3


def test_scenes_differ_in_what_moves() -> None:
    """Some cameras stand still, most scenes have things in them, and things move otherwise than the ground."""
    still = sprites = apart = 0
    for seed in range(60):
        made = scene(seed, 8, 48, 48)
        ground = made.objects[:-1] == 0
        still += float(np.abs(made.flow[ground]).max()) < 1e-3
        things = made.objects[:-1] > 0
        sprites += things.mean() > 0.005
        apart += bool(things.any()) and float(np.abs(made.flow[things].mean(axis=0) - made.flow[ground].mean(axis=0)).max()) > 0.2
    assert 5 <= still <= 25
    assert sprites > 50
    assert apart > 40


def test_more_than_fifty_clips_a_second_on_one_core() -> None:
    """At 64x64x16; 120 were measured on the machine of the development, and the time of the processor is what counts."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        make_clip(np.random.default_rng(0), 16, 64, 64)
        begin = time.process_time()
        for seed in range(20):
            make_clip(np.random.default_rng(seed), 16, 64, 64)
        assert 20 / (time.process_time() - begin) > 30  # slack for slower machines
    finally:
        cv2.setNumThreads(threads)
