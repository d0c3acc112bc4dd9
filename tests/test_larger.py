"""What a net made small, at the picture's size: the net's content, the known frames' detail, and nothing of what is hidden."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from framefill.families.larger import each_larger, larger
from framefill.families.trained import Frames, resized

SMALL = (16, 24)


def sliding(count: int, step: int = 2) -> Frames:
    """A fine texture that slides to the left."""
    rng = np.random.default_rng(5)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (64, 96 + step * count, 3), np.uint8), (0, 0), 1.5)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
    return np.stack([wide[:, step * t : step * t + 96] for t in range(count)])


def error(one: Frames, two: Frames) -> float:
    return float(np.mean((one[:, 6:-6, 6:-10].astype(float) - two[:, 6:-6, 6:-10]) ** 2))


@pytest.mark.parametrize("pattern", ["0010100", "0001111", "1111000"], ids=["between", "after", "before"])
def test_detail_comes_from_the_known_frames_where_the_net_agrees(pattern: str) -> None:
    truth, unknown = sliding(7), np.array([flag == "1" for flag in pattern])
    small = resized(truth, *SMALL)
    made = larger(small, truth, unknown)
    assert np.array_equal(made[~unknown], truth[~unknown])
    assert error(made[unknown], truth[unknown]) < error(resized(small, 64, 96)[unknown], truth[unknown]) / 4
    assert np.array_equal(made, larger(small, np.where(unknown[:, None, None, None], 255 - truth, truth), unknown)), (
        "nothing hidden is seen"
    )


def test_where_the_net_disagrees_its_picture_stands_alone() -> None:
    truth, unknown = sliding(4), np.array([False, False, True, True])
    small = resized(truth, *SMALL)
    small[2:, :, 12:] = (200, 30, 30)
    made = larger(small, truth, unknown)
    soft = resized(small, 64, 96)
    assert np.abs(made[2:, :, 64:].astype(int) - soft[2:, :, 64:]).max() <= 2
    assert error(made[2:, :, :40], truth[2:, :, :40]) < error(soft[2:, :, :40], truth[2:, :, :40]) / 4


def test_without_a_known_frame_or_at_the_same_size_it_is_only_enlarged() -> None:
    truth, everything = sliding(3), np.ones(3, np.bool_)
    small = resized(truth, *SMALL)
    assert np.array_equal(larger(small, truth, everything), resized(small, 64, 96))
    unknown = np.array([False, True, True])
    made = larger(255 - truth, truth, unknown)
    assert np.array_equal(made[0], truth[0])
    assert np.array_equal(made[1:], 255 - truth[1:])


@pytest.mark.parametrize("backward", [False, True])
def test_windows_hand_their_detail_on(backward: bool) -> None:
    truth = sliding(12)
    small = resized(truth, *SMALL)
    if backward:
        windows = list(each_larger(iter([small[4:8], small[:4]]), truth[8:], backward=True))[::-1]
        new = truth[:8]
    else:
        windows = list(each_larger(iter([small[4:8], small[8:]]), truth[:4]))
        new = truth[4:]
    made = np.concatenate(windows)
    soft = resized(resized(new, *SMALL), 64, 96)
    assert error(made, new) < error(soft, new) / 2
