"""Known pixels stay bit for bit, whatever the fill and the alpha say; and the proof of it finds a change of one level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from framefill.errors import MaskMismatch, UsageError
from framefill.media.composite import bounding_box, composite, outside_difference
from framefill.media.mask_morphology import feather

masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20)))


def pictures(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    return first, second


@given(masks)
def test_known_from_the_input_unknown_from_the_fill(mask: np.ndarray) -> None:
    rgb, fill = pictures(mask.shape)
    kept = rgb.copy()
    out = composite(rgb, fill, mask)
    assert np.array_equal(out, np.where(mask[..., None], fill, rgb))
    assert np.array_equal(rgb, kept)
    assert not np.shares_memory(out, rgb)
    assert outside_difference(rgb, out, mask) == 0


@given(masks, st.integers(0, 6))
def test_alpha_mixes_inside_only(mask: np.ndarray, width: int) -> None:
    rgb, fill = pictures(mask.shape)
    alpha = feather(mask, width)
    out = composite(rgb, fill, mask, alpha)
    expected = np.rint(rgb + (fill.astype(np.float64) - rgb) * alpha[..., None])
    assert np.array_equal(out[~mask], rgb[~mask])
    assert np.abs(out.astype(int) - np.where(mask[..., None], expected, rgb)).max(initial=0) <= 1


def test_an_alpha_that_spills_over_reaches_no_known_pixel() -> None:
    rgb, fill = pictures((9, 9))
    mask = np.zeros((9, 9), bool)
    mask[3:6, 3:6] = True
    out = composite(rgb, fill, mask, np.ones((9, 9), np.float32))
    assert outside_difference(rgb, out, mask) == 0
    assert np.array_equal(out[mask], fill[mask])


@pytest.mark.parametrize("level", [1, 7, 255])
def test_the_largest_change_outside_is_found(level: int) -> None:
    before = np.zeros((9, 12, 3), np.uint8)
    mask = np.zeros((9, 12), bool)
    mask[2:5, 3:6] = True
    after = before.copy()
    after[mask] = 200
    after[8, 11, 2] = level
    assert outside_difference(before, after, mask) == level
    assert outside_difference(after, before, mask) == level
    assert outside_difference(before, after, np.ones((9, 12), bool)) == 0


@given(masks)
def test_bounding_box(mask: np.ndarray) -> None:
    box = bounding_box(mask)
    if box is None:
        assert not mask.any()
        return
    outside = mask.copy()
    outside[box] = False
    assert not outside.any()
    inner = mask[box]
    assert inner[0].any() and inner[-1].any() and inner[:, 0].any() and inner[:, -1].any()  # noqa: PT018 - one statement: it is tight


def test_views_that_are_not_contiguous() -> None:
    rgb, fill = pictures((20, 30))
    mask = np.random.default_rng(1).random((20, 30)) > 0.5
    turned = composite(rgb[::-1, ::2], fill[::-1, ::2], mask[::-1, ::2])
    assert np.array_equal(turned, composite(rgb, fill, mask)[::-1, ::2])
    assert outside_difference(rgb[::-1, ::2], turned, mask[::-1, ::2]) == 0


RGB, BOOL = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), bool)
BAD = {
    "fill size": (RGB, np.zeros((4, 7, 3), np.uint8), BOOL, None, UsageError, "fill is 7x4, picture is 6x4"),
    "float fill": (RGB, RGB.astype(float), BOOL, None, UsageError, "expected uint8"),
    "grey picture": (RGB[..., 0], RGB, BOOL, None, UsageError, "expected uint8 H W 3"),
    "mask size": (RGB, RGB, np.zeros((6, 4), bool), None, MaskMismatch, "mask is 4x6, picture is 6x4"),
    "mask type": (RGB, RGB, BOOL.astype(np.uint8), None, UsageError, "expected bool"),
    "alpha size": (RGB, RGB, ~BOOL, np.zeros((4, 5), np.float32), MaskMismatch, "alpha is 5x4"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused(case: str) -> None:
    rgb, fill, mask, alpha, error, text = BAD[case]
    with pytest.raises(error, match=text):
        composite(rgb, fill, mask, alpha)
