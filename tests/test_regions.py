"""Rectangles around holes: nothing left out, nothing twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import box

from framefill.motion.regions import Region, regions_of


@settings(max_examples=120, deadline=None)
@given(height=st.integers(1, 50), width=st.integers(1, 60), spots=st.integers(0, 12), margin=st.integers(0, 9), seed=st.integers(0, 999))
def test_regions_hold_each_hole_with_its_margin_and_never_overlap(height: int, width: int, spots: int, margin: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hole = np.zeros((height, width), np.bool_)
    for _ in range(spots):
        top, left = rng.integers(height), rng.integers(width)
        hole[top : top + rng.integers(1, 6), left : left + rng.integers(1, 6)] = True
    regions = regions_of(hole, margin)
    times = np.zeros((height, width), int)
    for region in regions:
        assert 0 <= region.left < region.right <= width
        assert 0 <= region.top < region.bottom <= height
        assert hole[region.area].any()
        times[region.area] += 1
    assert times.max() <= 1
    for row, column in np.argwhere(hole):
        around = np.s_[max(row - margin, 0) : row + margin + 1, max(column - margin, 0) : column + margin + 1]
        assert times[around].all()
    assert regions == sorted(regions, key=lambda region: (region.top, region.left))


def test_holes_far_apart_get_tight_rectangles_of_their_own() -> None:
    hole = box(100, 200, 10, 10, 5, 8) | box(100, 200, 60, 150, 20, 30)
    assert regions_of(hole, 4) == [Region(6, 6, 22, 19), Region(146, 56, 184, 84)]


def test_rectangles_that_meet_only_after_being_joined_are_joined_too() -> None:
    # The first two meet; the rectangle around both meets the third, which neither of them does alone.
    hole = box(60, 60, 10, 10, 20, 4) | box(60, 60, 26, 15, 4, 20) | box(60, 60, 12, 25, 4, 4)
    assert regions_of(hole, 1) == [Region(9, 9, 36, 31)]


def test_no_hole_no_region() -> None:
    assert regions_of(np.zeros((5, 7), np.bool_), 3) == []
