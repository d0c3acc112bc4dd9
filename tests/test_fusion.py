"""Many samples made into one: agreement, outliers, what is believed at all, and the step at the rim."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import box, texture

from framefill.motion.footage import widen
from framefill.motion.fusion import fuse, match_rim, smooth_error
from framefill.motion.sources import Source, Target, rim_error, target_of

HEIGHT, WIDTH = 60, 90
HOLE = box(HEIGHT, WIDTH, 20, 30, 16, 20)
PICTURE = texture(1, HEIGHT, WIDTH)


@pytest.fixture
def target() -> Target:
    return target_of(0, np.where(HOLE[..., None], np.uint8(0), PICTURE), widen(HOLE))


def shown(target: Target) -> NDArray[np.uint8]:
    x, y = target.points.astype(int).T
    return PICTURE[y, x]


def source(target: Target, colours: NDArray[np.integer], usable: NDArray[np.bool_] | None = None, nearness: float = 1.0) -> Source:
    colours = np.clip(colours, 0, 255).astype(np.uint8)
    usable = np.ones(len(colours), np.bool_) if usable is None else usable
    return Source(colours, usable, rim_error(colours, target, usable), nearness)


def test_samples_that_agree_give_exactly_what_they_agree_on(target: Target) -> None:
    truth = shown(target)
    colours, seen = fuse([source(target, truth, nearness=1 / (1 + i)) for i in range(5)], target)
    assert colours.dtype == np.float32
    assert np.array_equal(np.rint(colours), truth)
    assert seen.all()


def test_one_outlier_among_five_has_little_effect(target: Target) -> None:
    truth, rng = shown(target).astype(int), np.random.default_rng(2)
    good = [source(target, truth + rng.integers(-2, 3, truth.shape)) for _ in range(4)]
    bad = truth.copy()
    bad[target.unknown] += np.where(truth[target.unknown] > 128, -110, 110)  # something passes by inside the hole: the rim cannot tell
    for place in range(5):
        sources = [*good[:place], source(target, bad), *good[place:]]
        colours, seen = fuse(sources, target)
        assert np.abs(colours - truth).mean() < 2
        assert np.abs(colours - truth).max() < 10
        assert seen.all()


def test_what_fits_the_rim_outweighs_what_does_not(target: Target) -> None:
    truth = shown(target).astype(int)
    colours, _ = fuse([source(target, truth), source(target, truth + 25)], target)
    assert np.abs(colours - truth).max() < 1.5


def test_the_nearer_of_two_that_fit_alike_has_more_say(target: Target) -> None:
    truth = shown(target).astype(int)
    near, far = truth.copy(), truth.copy()
    near[target.unknown] -= 8
    far[target.unknown] += 8
    colours, _ = fuse([source(target, near, nearness=1.0), source(target, far, nearness=0.25)], target)
    assert (colours - truth)[target.unknown].mean() == pytest.approx(-4.8, abs=0.3)  # (-8 x 1 + 8 x 0.25) / 1.25


def test_each_pixel_takes_only_from_sources_that_show_it(target: Target) -> None:
    truth = shown(target).astype(int)
    left = target.points[:, 0] < 40
    sources = [source(target, np.where(left[:, None], truth, 255), left), source(target, np.where(left[:, None], 0, truth), ~left)]
    colours, seen = fuse(sources, target)
    assert np.array_equal(np.rint(colours), truth)
    assert seen.all()
    _, seen = fuse(sources[:1], target)
    assert np.array_equal(seen, left)


def test_sources_that_do_not_fit_the_rim_and_disagree_are_not_believed(target: Target) -> None:
    others = [source(target, _other(target, seed)) for seed in (5, 6, 7, 8)]
    _, seen = fuse(others, target)
    assert seen[target.unknown].mean() < 0.05


def test_a_single_source_that_does_not_fit_is_not_believed_and_one_that_does_is(target: Target) -> None:
    assert fuse([source(target, _other(target, 5))], target)[1][target.unknown].mean() < 0.05
    noise = np.random.default_rng(9).integers(-6, 7, target.colours.shape)
    assert fuse([source(target, shown(target) + noise)], target)[1].all()


def test_sources_that_agree_among_themselves_are_believed_from_three_on(target: Target) -> None:
    # A passer-by covers the rim of this frame: the background does not fit there, but all frames say the same.
    wrong = _other(target, 5)
    for count, believed in ((2, False), (3, True)):
        _, seen = fuse([source(target, wrong) for _ in range(count)], target)
        assert seen[target.unknown].mean() == believed


def test_no_source_nothing_seen(target: Target) -> None:
    colours, seen = fuse([], target)
    assert not seen.any()
    assert np.array_equal(colours, target.colours)
    assert not fuse([source(target, shown(target), np.zeros(len(target.points), np.bool_))], target)[1].any()


@pytest.mark.parametrize("wide", [5, 90, 300])
def test_large_holes_are_fused_as_small_ones_are(wide: int) -> None:
    picture = texture(3, 120, 400)
    target = target_of(0, picture, widen(box(120, 400, 30, 30, 60, wide)))
    rng = np.random.default_rng(4)
    truth = target.colours.astype(int)
    colours, seen = fuse([source(target, truth + rng.integers(-3, 4, truth.shape)) for _ in range(4)], target)
    assert np.abs(colours - truth).max() < 3.01
    assert seen.all()


def test_a_smooth_fill_of_flat_surroundings_is_expected_to_be_perfect_and_of_texture_its_variance() -> None:
    flat = target_of(0, np.full((HEIGHT, WIDTH, 3), 77, np.uint8), widen(HOLE))
    assert np.abs(smooth_error(flat)).max() < 0.1
    noise = np.random.default_rng(5).integers(0, 101, (HEIGHT, WIDTH)).astype(np.uint8)
    rough = target_of(0, np.repeat(noise[..., None], 3, 2), widen(HOLE))
    assert smooth_error(rough).mean() == pytest.approx((101**2 - 1) / 12, rel=0.15)
    hidden = np.where(HOLE[..., None], np.uint8(255), noise[..., None].repeat(3, 2))
    assert np.array_equal(smooth_error(target_of(0, hidden, widen(HOLE))), smooth_error(rough))


def test_a_constant_step_at_the_rim_is_taken_out() -> None:
    made, valid = PICTURE.astype(np.float32) - 7, np.ones_like(HOLE)
    assert np.abs(match_rim(made, valid, PICTURE, ~HOLE) - PICTURE).max() < 0.05


def test_a_step_that_changes_along_the_rim_is_taken_out_smoothly() -> None:
    slope = np.linspace(-18, 18, WIDTH, dtype=np.float32)[None, :, None]
    matched = match_rim(PICTURE + slope, np.ones_like(HOLE), PICTURE, ~HOLE)
    assert np.abs(matched - PICTURE)[HOLE].max() < 2
    assert np.abs(slope[0, 30:50]).max() > 5


def test_a_large_step_is_something_that_is_there_and_stays() -> None:
    made = np.clip(PICTURE.astype(np.float32), 70, 180)
    truth = (made - 60).astype(np.uint8)
    assert np.array_equal(match_rim(made, np.ones_like(HOLE), truth, ~HOLE), made)
    followed = match_rim(made, np.ones_like(HOLE), truth, ~HOLE, cap=np.inf)
    assert np.abs(followed - truth)[HOLE].max() < 1.5


def test_matching_reads_neither_the_hidden_nor_what_shows_nothing() -> None:
    made, valid = PICTURE.astype(np.float32) + 5, box(HEIGHT, WIDTH, 10, 20, 40, 50)
    expected = match_rim(made, valid, PICTURE, ~HOLE)
    hidden = np.where(HOLE[..., None], np.uint8(255), PICTURE)
    empty = np.where((valid | HOLE)[..., None], made, np.float32(-500))
    assert np.array_equal(match_rim(made, valid, hidden, ~HOLE), expected)
    assert np.array_equal(match_rim(empty, valid, PICTURE, ~HOLE)[valid], expected[valid])
    assert np.array_equal(match_rim(made, HOLE, PICTURE, ~HOLE), made), "without a rim there is nothing to match"


def _other(target: Target, seed: int) -> NDArray[np.uint8]:
    """The target's points in a picture of another scene, lighter or darker."""
    x, y = target.points.astype(int).T
    return np.clip(texture(seed, HEIGHT, WIDTH)[y, x].astype(int) + (-1) ** seed * 45, 0, 255).astype(np.uint8)
