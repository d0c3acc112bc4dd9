"""The sliding run of frames: each frame is filled once, with the right neighbours, and without its hidden pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs_kit import box_mask

from framefill.families.base import Filled
from framefill.families.spans import BLANK, spans
from framefill.jobs.made import Made


def _clip(length: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(length)
    return rng.integers(0, 256, (length, 6, 8, 3), np.uint8), rng.random((length, 6, 8)) < 0.3


@given(length=st.integers(1, 40), window=st.integers(1, 9), reach=st.integers(0, 12))
@settings(max_examples=150, deadline=None)
def test_spans_hold_every_frame_once_with_its_neighbours(length: int, window: int, reach: int) -> None:
    frames, masks = _clip(length)
    expected = 0
    for span in spans(zip(frames, masks, strict=True), window, reach, 6, 8):
        assert span.fill_start == expected
        assert span.fill_stop == min(expected + window, length)
        assert span.start == max(0, expected - reach)
        assert span.start + len(span.frames) == min(length, expected + window + reach)
        there = slice(span.start, span.start + len(span.frames))
        assert np.array_equal(span.mask, masks[there])
        assert np.array_equal(span.frames[~span.mask], frames[there][~masks[there]])
        assert (span.frames[span.mask] == BLANK).all()
        expected = span.fill_stop
    assert expected == length


def test_a_filler_cannot_write_into_the_frames_of_later_spans() -> None:
    frames, masks = _clip(5)
    span = next(spans(zip(frames, masks, strict=True), 2, 1, 6, 8))
    with pytest.raises(ValueError, match="read-only"):
        span.frames[0] = 0


def test_only_window_and_reach_are_held() -> None:
    taken = 0

    def stream():
        nonlocal taken
        for frame, mask in zip(*_clip(30), strict=True):
            taken += 1
            yield frame, mask

    for span in spans(stream(), 3, 2, 6, 8):
        assert taken <= span.fill_stop + 2


def test_made_pixels_come_apart_as_they_were_put_together() -> None:
    mask = box_mask(3, 12, 8)
    mask[1] = False
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), np.uint8)
    provenance = np.where(mask, np.uint8(2), np.uint8(0))
    remaining = np.zeros_like(mask)
    remaining[2] = mask[2]
    made = Made.take(Filled(frames, provenance, remaining), mask, 1.0)
    parts = list(made.split())
    assert [len(pixels) for pixels, _ in parts] == [int(m.sum()) for m in mask]
    assert np.array_equal(parts[0][0], frames[0][mask[0]])
    assert (parts[0][1] == 2).all()
    assert (parts[2][1] == 0).all(), "what remains is not counted as made"
    assert made.fits(mask)
    assert not made.fits(np.roll(mask, 1, axis=0))
