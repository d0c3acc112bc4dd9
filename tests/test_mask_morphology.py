"""Grow, shrink, close and feather against their definitions, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mask_clips import clip, disc

from framefill.media.mask import read_mask
from framefill.media.mask_morphology import close, dilate, erode, feather

masks = hnp.arrays(
    np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.sampled_from([True, False, False, False]), fill=st.just(False)
)
radii = st.integers(0, 30)


def distances(mask: np.ndarray) -> np.ndarray:
    """Distance of every pixel to the nearest True, by looking at all of them."""
    there = np.argwhere(mask)
    y, x = np.indices(mask.shape)
    if not len(there):
        return np.full(mask.shape, np.inf)
    return np.sqrt(((y[..., None] - there[:, 0]) ** 2 + (x[..., None] - there[:, 1]) ** 2).min(axis=-1))


@settings(deadline=None)
@given(masks, radii)
def test_dilate_is_all_within_reach(mask: np.ndarray, radius: int) -> None:
    before = mask.copy()
    assert np.array_equal(dilate(mask, radius), distances(mask) <= radius)
    assert np.array_equal(mask, before)


@settings(deadline=None)
@given(masks, radii)
def test_erode_is_all_out_of_reach_of_known_pixels(mask: np.ndarray, radius: int) -> None:
    assert np.array_equal(erode(~mask, radius), ~(distances(mask) <= radius))


@settings(deadline=None)
@given(masks, st.integers(0, 20))
def test_close_only_adds_and_adds_nothing_twice(mask: np.ndarray, radius: int) -> None:
    closed = close(mask, radius)
    assert not (mask & ~closed).any()
    assert np.array_equal(close(closed, radius), closed)


@settings(deadline=None)
@given(masks, st.integers(0, 20))
def test_feather_rises_inside_the_hole_only(mask: np.ndarray, width: int) -> None:
    alpha = feather(mask, width)
    assert alpha.dtype == np.float32
    assert not alpha[~mask].any()
    assert np.allclose(alpha[mask], np.minimum(distances(~mask)[mask] / (width + 1), 1), atol=1e-5)


def test_close_fills_a_gap() -> None:
    mask = np.zeros((20, 40), bool)
    mask[3:17, 5:18] = mask[3:17, 21:35] = True
    assert not mask[10, 19]
    assert close(mask, 2)[9:11, 18:21].all()
    assert not close(mask, 1)[9:11, 19].any()


def test_the_pictures_border_is_no_rim() -> None:
    mask = np.zeros((20, 20), bool)
    mask[:, :10] = True
    assert erode(mask, 3)[:, :7].all()
    assert not erode(mask, 3)[:, 7:].any()
    assert feather(mask, 3)[0, 0] == 1


def test_the_rule_applies_close_then_erode_then_dilate() -> None:
    speck = disc() | np.eye(24, 40, dtype=bool) & (np.arange(40) < 4)
    opened = read_mask(speck, clip(), erode=2, dilate=2)
    assert np.array_equal(opened.frames[0], dilate(erode(speck, 2), 2))
    assert not opened.frames[0][:4, :4].any()
    assert "then erode 2 px, dilate 2 px" in opened.understood


@pytest.mark.parametrize("function", [dilate, erode, close])
def test_nothing_and_everything_stay(function) -> None:
    for mask in (np.zeros((9, 7), bool), np.ones((9, 7), bool)):
        assert np.array_equal(function(mask, 5), mask)
        assert np.array_equal(function(mask, 40), mask)


def test_close_adds_nothing_to_a_box_at_the_frames_edge() -> None:
    mask = np.zeros((40, 50), np.bool_)
    mask[:12, 20:30] = True
    for radius in (3, 20):
        assert np.array_equal(close(mask, radius), mask)
