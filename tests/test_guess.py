"""The first guess: it follows motion that goes on, invents nothing where things stand still, and looks at nothing that is hidden."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import Frames, texture

from framefill.families.guess import guess

T, H, W = 6, 40, 56
Mask = NDArray[np.bool_]


def pan(step: int) -> Frames:
    canvas = texture(2, H, W + T * step)
    return np.stack([canvas[:, t * step : t * step + W] for t in range(T)])


def frames_hidden(*numbers: int) -> Mask:
    mask = np.zeros((T, H, W), np.bool_)
    mask[list(numbers)] = True
    return mask


HOLES = {
    "the end": frames_hidden(3, 4, 5),
    "the start": frames_hidden(0, 1),
    "between": frames_hidden(1, 2, 4),
    "all but one": frames_hidden(0, 1, 2, 4, 5),
    "a box": frames_hidden(*range(T)) & (np.indices((H, W)) < 20).all(0),
    "a frame and a box": frames_hidden(2) | (frames_hidden(4, 5) & (np.indices((H, W)) > 25).all(0)),
}


@pytest.mark.parametrize("hole", HOLES)
def test_what_is_hidden_is_not_looked_at_and_what_is_known_stays(hole: str) -> None:
    frames, mask = pan(2), HOLES[hole]
    made = guess(frames, mask)
    assert made.shape == frames.shape
    assert np.array_equal(made[~mask], frames[~mask])
    assert np.array_equal(guess(np.where(mask[..., None], 255 - frames, frames), mask), made)


@pytest.mark.parametrize("hole", ["the end", "the start", "between", "all but one", "a frame and a box"])
def test_a_scene_that_stands_still_is_guessed_as_it_is(hole: str) -> None:
    frames, mask = pan(0), HOLES[hole]
    assert np.abs(guess(frames, mask).astype(int) - frames).max() <= 1


@pytest.mark.parametrize("hole", ["the end", "the start", "between"])
def test_motion_goes_on(hole: str) -> None:
    frames, mask = pan(2), HOLES[hole]
    apart = np.abs(guess(frames, mask)[:, :, 12:-12].astype(int) - frames[:, :, 12:-12])[mask[:, :, 12:-12]].mean()
    still = guess(frames, frames_hidden(0, 1, 2, 4, 5))[5, :, 12:-12].astype(int)
    assert apart < 0.3 * np.abs(still - frames[5, :, 12:-12]).mean()


def test_what_no_frame_knows_continues_what_is_around_it() -> None:
    frames = np.full((T, H, W, 3), 90, np.uint8)
    assert np.abs(guess(frames, HOLES["a box"]).astype(int) - 90).max() <= 1


def test_pixels_are_blended_in_time_by_nearness() -> None:
    frames = np.broadcast_to(np.array([10, 0, 0, 0, 90, 0], np.uint8)[:, None, None, None], (T, H, W, 3)).copy()
    mask = frames_hidden(*range(T)) & (np.indices((H, W)) < 20).all(0)  # no frame is whole
    mask[[0, 4], :10] = False
    assert guess(frames, mask)[:, 0, 0, 0].tolist() == [10, 30, 50, 70, 90, 90]


def test_with_nothing_known_all_is_black_and_with_nothing_hidden_all_stays() -> None:
    frames = pan(1)
    assert not guess(frames, frames_hidden(*range(T))).any()
    assert np.array_equal(guess(frames, frames_hidden()), frames)
